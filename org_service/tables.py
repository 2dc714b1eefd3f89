"""The tables of the org service. Everything a tenant owns carries its organization's id."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, DateTime, ForeignKey, Identity, Index, String, Text
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from contracts.catalog import Price as PriceContract

Id = String(collation="C")
"""Compared byte by byte whatever the database's locale, so that pages are cut where ids sort."""


class Table(DeclarativeBase):
    type_annotation_map = {  # noqa: RUF012
        str: Text,
        int: BigInteger,
        datetime: DateTime(timezone=True),
        list[str]: ARRAY(Text),
        dict[str, Any]: JSONB,
    }


class Organization(Table):
    """`version` counts the committed changes that a router has to hear of; bumping it locks the row, so the
    outbox holds one organization's changes in the order of their commits."""

    __tablename__ = "organizations"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str]
    is_operator: Mapped[bool]
    version: Mapped[int] = mapped_column(server_default=sql("0"))
    created_at: Mapped[datetime]


class User(Table):
    __tablename__ = "users"
    __table_args__ = (
        Index(
            "users_live_email", "organization_id", sql("lower(email)"), unique=True,
            postgresql_where=sql("removed_at IS NULL"),
        ),
    )  # fmt: skip
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    organization_id: Mapped[str] = mapped_column(Id, ForeignKey("organizations.id"))
    email: Mapped[str]
    name: Mapped[str]
    role: Mapped[str]
    added_at: Mapped[datetime]
    removed_at: Mapped[datetime | None]


class Project(Table):
    __tablename__ = "projects"
    __table_args__ = (Index("projects_page", "organization_id", "id"),)
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    organization_id: Mapped[str] = mapped_column(Id, ForeignKey("organizations.id"))
    name: Mapped[str]
    created_at: Mapped[datetime]
    archived_at: Mapped[datetime | None]


class ServiceAccount(Table):
    __tablename__ = "service_accounts"
    __table_args__ = (Index("service_accounts_page", "project_id", "id"),)
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    organization_id: Mapped[str] = mapped_column(Id, ForeignKey("organizations.id"))
    project_id: Mapped[str] = mapped_column(Id, ForeignKey("projects.id"))
    name: Mapped[str]
    role: Mapped[str]
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]


class ApiKey(Table):
    """A project key. Its id, limits and usage stay when its secret is rotated."""

    __tablename__ = "api_keys"
    __table_args__ = (
        CheckConstraint("(user_id IS NULL) <> (service_account_id IS NULL)", name="api_keys_one_owner"),
        Index("api_keys_page", "project_id", "id"),
        Index("api_keys_user", "user_id"),
        Index("api_keys_service_account", "service_account_id"),
    )
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    organization_id: Mapped[str] = mapped_column(Id, ForeignKey("organizations.id"))
    project_id: Mapped[str] = mapped_column(Id, ForeignKey("projects.id"))
    user_id: Mapped[str | None] = mapped_column(Id, ForeignKey("users.id"))
    service_account_id: Mapped[str | None] = mapped_column(Id, ForeignKey("service_accounts.id"))
    name: Mapped[str]
    redacted_value: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class ApiKeySecret(Table):
    """One secret of a key, by its SHA-256. A rotated one stays valid until `valid_until`."""

    __tablename__ = "api_key_secrets"
    __table_args__ = (Index("api_key_secrets_key", "key_id"),)
    key_hash: Mapped[str] = mapped_column(Id, primary_key=True)
    key_id: Mapped[str] = mapped_column(Id, ForeignKey("api_keys.id"))
    organization_id: Mapped[str] = mapped_column(Id, ForeignKey("organizations.id"))
    created_at: Mapped[datetime]
    valid_until: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class AdminKey(Table):
    __tablename__ = "admin_keys"
    __table_args__ = (Index("admin_keys_page", "organization_id", "id"),)
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    organization_id: Mapped[str] = mapped_column(Id, ForeignKey("organizations.id"))
    user_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id"))
    name: Mapped[str]
    key_hash: Mapped[str] = mapped_column(Id, unique=True)
    redacted_value: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class SpendLimit(Table):
    __tablename__ = "spend_limits"
    level_kind: Mapped[str] = mapped_column(primary_key=True)
    level_id: Mapped[str] = mapped_column(Id, primary_key=True)
    period: Mapped[str] = mapped_column(primary_key=True)
    organization_id: Mapped[str] = mapped_column(Id, ForeignKey("organizations.id"))
    threshold_cents: Mapped[int]


class SpendAlert(Table):
    __tablename__ = "spend_alerts"
    __table_args__ = (Index("spend_alerts_level", "level_kind", "level_id", "id"),)
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    level_kind: Mapped[str]
    level_id: Mapped[str] = mapped_column(Id)
    period: Mapped[str]
    organization_id: Mapped[str] = mapped_column(Id, ForeignKey("organizations.id"))
    threshold_cents: Mapped[int]
    recipients: Mapped[list[str]]
    subject_prefix: Mapped[str | None]
    created_at: Mapped[datetime]


class RateLimit(Table):
    """`model_id` is empty for the limit over all models."""

    __tablename__ = "rate_limits"
    level_kind: Mapped[str] = mapped_column(primary_key=True)
    level_id: Mapped[str] = mapped_column(Id, primary_key=True)
    model_id: Mapped[str] = mapped_column(Id, primary_key=True)
    organization_id: Mapped[str] = mapped_column(Id, ForeignKey("organizations.id"))
    requests_per_minute: Mapped[int | None]
    tokens_per_minute: Mapped[int | None]


class ConcurrencyLimit(Table):
    __tablename__ = "concurrency_limits"
    level_kind: Mapped[str] = mapped_column(primary_key=True)
    level_id: Mapped[str] = mapped_column(Id, primary_key=True)
    organization_id: Mapped[str] = mapped_column(Id, ForeignKey("organizations.id"))
    calls: Mapped[int]


class ModelPermission(Table):
    __tablename__ = "model_permissions"
    level_kind: Mapped[str] = mapped_column(primary_key=True)
    level_id: Mapped[str] = mapped_column(Id, primary_key=True)
    organization_id: Mapped[str] = mapped_column(Id, ForeignKey("organizations.id"))
    mode: Mapped[str]
    model_ids: Mapped[list[str]]


class CatalogState(Table):
    """One row: how often the catalog changed. Bumping it serialises the catalog's writers."""

    __tablename__ = "catalog_state"
    __table_args__ = (CheckConstraint("id = 1", name="catalog_state_one_row"),)
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    version: Mapped[int]


class Model(Table):
    __tablename__ = "models"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    operations: Mapped[list[str]]
    context_window_tokens: Mapped[int]
    max_output_tokens: Mapped[int]
    image_input_tokens: Mapped[int]
    owned_by: Mapped[str]
    created_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]


class Alias(Table):
    __tablename__ = "aliases"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    model_id: Mapped[str] = mapped_column(Id, ForeignKey("models.id"))
    created_at: Mapped[datetime]


class Upstream(Table):
    __tablename__ = "upstreams"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    model_id: Mapped[str] = mapped_column(Id, ForeignKey("models.id"))
    base_url: Mapped[str]
    model_name: Mapped[str]
    weight: Mapped[int]
    api_key: Mapped[str | None]
    capabilities: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class Price(Table):
    """Immutable: a trigger refuses UPDATE and DELETE. Its id is the price version of every event charged by it."""

    __tablename__ = "prices"
    __table_args__ = (Index("prices_effective", "model_id", "effective_from", unique=True),)
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    model_id: Mapped[str] = mapped_column(Id, ForeignKey("models.id"))
    effective_from: Mapped[datetime]
    input_nano_usd_per_million: Mapped[int]
    output_nano_usd_per_million: Mapped[int]
    cached_input_nano_usd_per_million: Mapped[int | None]
    reasoning_output_nano_usd_per_million: Mapped[int | None]
    created_at: Mapped[datetime]

    def contract(self) -> PriceContract:
        rates = {name: getattr(self, name) for name in PriceContract.model_fields if name.endswith("_per_million")}
        return PriceContract(version=self.id, effective_from=self.effective_from, **rates)


class OutboxEntry(Table):
    """A change on its way to the feed; deleted in the transaction that saw it arrive there."""

    __tablename__ = "outbox"
    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    change: Mapped[dict[str, Any]]


class AuditLog(Table):
    __tablename__ = "audit_logs"
    __table_args__ = (Index("audit_logs_page", "organization_id", "id"),)
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    organization_id: Mapped[str] = mapped_column(Id, ForeignKey("organizations.id"))
    type: Mapped[str]
    effective_at: Mapped[datetime]
    actor_key_id: Mapped[str | None]
    actor_user_id: Mapped[str | None]
    actor_email: Mapped[str | None]
    project_id: Mapped[str | None]
    resource_id: Mapped[str | None]
    payload: Mapped[dict[str, Any]]

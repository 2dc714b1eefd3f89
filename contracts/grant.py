"""What org_service tells the router about a key: who is this, and what may it do."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from contracts.wire import Wire


class LevelKind(StrEnum):
    """Who pays, from the widest to the narrowest. `USER` is the key's owner, service account or user."""

    ORGANIZATION = "organization"
    PROJECT = "project"
    USER = "user"
    KEY = "key"


class Period(StrEnum):
    """When a spend counter starts again (UTC); `NONE` never does."""

    DAY = "day"
    MONTH = "month"
    NONE = "none"


class SpendLimit(Wire):
    limit_nano_usd: int = Field(ge=0)
    period: Period = Period.MONTH
    alert_percents: tuple[int, ...] = ()


class RateLimit(Wire):
    """Token buckets; capacity is one minute's worth. `model_id` None counts every model."""

    model_id: str | None = None
    requests_per_minute: int | None = Field(default=None, ge=0)
    tokens_per_minute: int | None = Field(default=None, ge=0)


class Level(Wire):
    """One of the four that pay, with the limits that stand on it."""

    kind: LevelKind
    id: str
    spend: tuple[SpendLimit, ...] = ()
    rates: tuple[RateLimit, ...] = ()
    concurrency: int | None = Field(default=None, ge=0)


class PermissionMode(StrEnum):
    ALLOW_LIST = "allow_list"
    DENY_LIST = "deny_list"


class ModelPermission(Wire):
    """A project's or a key's list of canonical model ids; every list must agree."""

    mode: PermissionMode
    model_ids: frozenset[str]

    def permits(self, model_id: str) -> bool:
        return (model_id in self.model_ids) == (self.mode is PermissionMode.ALLOW_LIST)


class OwnerKind(StrEnum):
    USER = "user"
    SERVICE_ACCOUNT = "service_account"


class Grant(Wire):
    """A live project key. `levels` holds organization, project, owner and key, in this order. `key_hash` is the
    secret that was resolved: a key in rotation has two, and one may be revoked while the other lives."""

    key_id: str
    key_hash: str = Field(default="", repr=False)
    organization_id: str
    project_id: str
    owner_kind: OwnerKind
    owner_id: str
    expires_at: datetime | None = None
    levels: tuple[Level, Level, Level, Level]
    permissions: tuple[ModelPermission, ...] = ()
    version: int = 0

    def permits(self, model_id: str) -> bool:
        """Whether project and key both allow the model."""
        return all(permission.permits(model_id) for permission in self.permissions)


class Refusal(StrEnum):
    """Why a key gives no grant. Told apart inside; outside they are one 401."""

    UNKNOWN = "unknown"
    REVOKED = "revoked"
    EXPIRED = "expired"
    ARCHIVED = "archived"


class ResolveRequest(Wire):
    key_hash: str = Field(pattern=r"^[0-9a-f]{64}$")


class Resolution(Wire):
    """The answer to a ResolveRequest: exactly one of the two is set."""

    grant: Grant | None = None
    refusal: Refusal | None = None


class AdminIdentity(Wire):
    """A live admin key, as analytics sees it."""

    key_id: str
    organization_id: str


class AdminResolution(Wire):
    """The answer to a ResolveRequest about an admin key: exactly one of the two is set."""

    identity: AdminIdentity | None = None
    refusal: Refusal | None = None

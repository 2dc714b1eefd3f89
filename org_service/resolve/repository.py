"""Queries behind a resolution: from the hash of a secret to everything that stands on the four levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from org_service.level import Level
from org_service.tables import (
    ApiKey,
    ApiKeySecret,
    ConcurrencyLimit,
    ModelPermission,
    Organization,
    Project,
    RateLimit,
    ServiceAccount,
    SpendAlert,
    SpendLimit,
    User,
)

Row = TypeVar("Row", SpendLimit, SpendAlert, RateLimit, ConcurrencyLimit, ModelPermission)


@dataclass(frozen=True, slots=True)
class KeyFacts:
    secret: ApiKeySecret
    key: ApiKey
    project: Project
    owner_left: bool
    version: int


async def find_key(session: AsyncSession, key_hash: str) -> KeyFacts | None:
    owner_left = func.coalesce(User.removed_at, ServiceAccount.deleted_at).is_not(None)
    query = (
        select(ApiKeySecret, ApiKey, Project, owner_left, Organization.version)
        .join(ApiKey, ApiKey.id == ApiKeySecret.key_id)
        .join(Project, Project.id == ApiKey.project_id)
        .join(Organization, Organization.id == ApiKey.organization_id)
        .outerjoin(User, User.id == ApiKey.user_id)
        .outerjoin(ServiceAccount, ServiceAccount.id == ApiKey.service_account_id)
        .where(ApiKeySecret.key_hash == key_hash)
    )
    row = (await session.execute(query)).one_or_none()
    return None if row is None else KeyFacts(*row)


async def list_on(
    session: AsyncSession, table: type[Row], organization_id: str, levels: Sequence[Level]
) -> Sequence[Row]:
    """Every row of `table` that stands on one of these levels of the organization."""
    on_level = [and_(table.level_kind == level.kind.value, table.level_id == level.id) for level in levels]
    query = select(table).where(table.organization_id == organization_id, or_(*on_level))
    return (await session.execute(query)).scalars().all()

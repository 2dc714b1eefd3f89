"""From a presented secret to the caller: admin keys from the table, the service token by comparison."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from contracts import api_key
from contracts.grant import Refusal
from org_service.errors import NotAuthenticatedError
from org_service.tables import AdminKey, Organization, User

_REFUSED = "Incorrect API key provided. The administration API takes a live admin key (tern_admin_...)."


@dataclass(frozen=True, slots=True)
class Caller:
    """The admin key that asks, and the user it belongs to. `key_id` is empty for the system itself."""

    organization_id: str
    user_id: str = ""
    email: str = ""
    key_id: str = ""
    is_operator: bool = False


async def authenticate(session: AsyncSession, secret: str, now: datetime) -> Caller:
    """The caller behind a live admin key; one 401 for every other secret, so that there is no oracle."""
    try:
        kind = api_key.parse(secret)
    except api_key.MalformedKeyError:
        raise NotAuthenticatedError(_REFUSED) from None
    if kind is not api_key.KeyKind.ADMIN:
        raise NotAuthenticatedError("A project key was used where an admin key is needed.")
    found = await find_admin(session, api_key.digest(secret), now)
    if isinstance(found, Refusal):
        raise NotAuthenticatedError(_REFUSED)
    return found


async def take_turn(session: AsyncSession, organization_id: str) -> None:
    """Wait until no other write of the organization is under way. Writes are few; one after another they need no
    thought about what another does meanwhile: the last owner stays, a key rotated twice has one lasting secret."""
    query = select(Organization.id).where(Organization.id == organization_id).with_for_update(key_share=True)
    await session.execute(query)


async def find_admin(session: AsyncSession, key_hash: str, now: datetime) -> Caller | Refusal:
    query = (
        select(AdminKey, Organization.is_operator, User.email)
        .join(Organization, Organization.id == AdminKey.organization_id)
        .join(User, User.id == AdminKey.user_id)
        .where(AdminKey.key_hash == key_hash)
    )
    row = (await session.execute(query)).one_or_none()
    if row is None:
        return Refusal.UNKNOWN
    key, is_operator, email = row
    if key.revoked_at is not None:
        return Refusal.REVOKED
    if key.expires_at is not None and key.expires_at <= now:
        return Refusal.EXPIRED
    return Caller(key.organization_id, key.user_id, email, key.id, is_operator)


def present_service_token(presented: str, expected: str) -> None:
    if not secrets.compare_digest(presented.encode(), expected.encode()):
        raise NotAuthenticatedError(
            "The service token is not the one of this deployment.", code="invalid_service_token"
        )

"""Admin keys: the credentials of the administration API itself."""

from __future__ import annotations

from datetime import timedelta

from contracts import api_key
from org_service import audit
from org_service.admin_keys import repository
from org_service.admin_keys.schemas import AdminKeyCreate
from org_service.errors import ConflictError, found
from org_service.ids import new_id
from org_service.tables import AdminKey
from org_service.transaction import Transaction


async def get(transaction: Transaction, key_id: str) -> AdminKey:
    return found(await repository.find(transaction, key_id), "admin API key", key_id)


async def create(transaction: Transaction, body: AdminKeyCreate) -> tuple[AdminKey, str]:
    """The key, owned by the caller's user, and its secret."""
    secret = api_key.generate(api_key.KeyKind.ADMIN)
    lifetime = body.expires_in_seconds
    key = AdminKey(
        id=new_id("key"),
        organization_id=transaction.organization_id,
        user_id=transaction.caller.user_id,
        name=body.name,
        key_hash=api_key.digest(secret),
        redacted_value=api_key.redact(secret),
        created_at=transaction.now,
        expires_at=None if lifetime is None else transaction.now + timedelta(seconds=lifetime),
    )
    transaction.session.add(key)
    await transaction.session.flush()
    audit.record(transaction, "api_key.created", key.id, data={"kind": "admin"})
    return key, secret


async def delete(transaction: Transaction, key_id: str) -> None:
    """Nobody may saw off the branch: the last key that does not expire stays."""
    key = await get(transaction, key_id)
    if key.expires_at is None and await repository.count_lasting(transaction) <= 1:
        raise ConflictError("An organization keeps at least one lasting admin key.", code="last_admin_key")
    key.revoked_at = transaction.now
    audit.record(transaction, "api_key.deleted", key.id)

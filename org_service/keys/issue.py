"""Making keys and secrets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from contracts import api_key
from contracts.change import Change, ChangeKind
from contracts.grant import OwnerKind
from org_service import audit, outbox
from org_service.ids import new_id
from org_service.keys import repository
from org_service.keys.schemas import Issued
from org_service.tables import ApiKey, ApiKeySecret
from org_service.transaction import Transaction

_KINDS: Final = {
    OwnerKind.USER: api_key.KeyKind.USER,
    OwnerKind.SERVICE_ACCOUNT: api_key.KeyKind.SERVICE_ACCOUNT,
}


@dataclass(frozen=True, slots=True)
class Owner:
    kind: OwnerKind
    id: str


async def key(
    transaction: Transaction, project_id: str, owner: Owner, name: str, *, expires_in_seconds: int | None = None
) -> Issued:
    """A new key of `owner` in the project, which the caller has seen to exist."""
    secret = api_key.generate(_KINDS[owner.kind])
    row = ApiKey(
        id=new_id("key"),
        organization_id=transaction.organization_id,
        project_id=project_id,
        user_id=owner.id if owner.kind is OwnerKind.USER else None,
        service_account_id=owner.id if owner.kind is OwnerKind.SERVICE_ACCOUNT else None,
        name=name,
        redacted_value=api_key.redact(secret),
        created_at=transaction.now,
        expires_at=deadline(transaction, expires_in_seconds),
    )
    transaction.session.add(row)
    await transaction.session.flush()
    await _store(transaction, row, secret)
    audit.record(transaction, "api_key.created", row.id, project_id=project_id, data={"owner_id": owner.id})
    return Issued(row, secret)


async def rotate(transaction: Transaction, row: ApiKey, grace_period_seconds: int) -> tuple[Issued, datetime]:
    """A new secret for the same key, and when the one before stops. A secret that is already on its way out
    keeps its own, earlier deadline."""
    until = transaction.now + timedelta(seconds=grace_period_seconds)
    for old in await repository.secrets_of(transaction, [row.id]):
        if old.valid_until is None or old.valid_until > until:
            old.valid_until = until
            old.revoked_at = None if grace_period_seconds else transaction.now
            kind = ChangeKind.KEY if grace_period_seconds else ChangeKind.KEY_REVOKED
            await _announce(transaction, row, old.key_hash, kind)
    owner_kind = OwnerKind.USER if row.user_id is not None else OwnerKind.SERVICE_ACCOUNT
    secret = api_key.generate(_KINDS[owner_kind])
    row.redacted_value = api_key.redact(secret)
    await _store(transaction, row, secret)
    changes = {"grace_period_seconds": grace_period_seconds}
    audit.record(transaction, "api_key.rotated", row.id, project_id=row.project_id, changes=changes)
    return Issued(row, secret), until


def deadline(transaction: Transaction, expires_in_seconds: int | None) -> datetime | None:
    if expires_in_seconds is None:
        return None
    return transaction.now + timedelta(seconds=expires_in_seconds)


async def _store(transaction: Transaction, row: ApiKey, secret: str) -> None:
    key_hash = api_key.digest(secret)
    transaction.session.add(
        ApiKeySecret(
            key_hash=key_hash, key_id=row.id, organization_id=row.organization_id, created_at=transaction.now
        )
    )
    await transaction.session.flush()
    await _announce(transaction, row, key_hash, ChangeKind.KEY)


async def _announce(transaction: Transaction, row: ApiKey, key_hash: str, kind: ChangeKind) -> None:
    change = Change(kind=kind, id=row.id, key_hash=key_hash)
    await outbox.announce(transaction.session, row.organization_id, [change])

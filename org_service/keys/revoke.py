"""Revocation: final, and told to every router key by key, so that none has to ask before it refuses."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement

from contracts.change import Change, ChangeKind
from org_service import audit, outbox
from org_service.keys import repository
from org_service.tables import ApiKey
from org_service.transaction import Transaction


async def of_user(transaction: Transaction, user_id: str) -> None:
    await _where(transaction, ApiKey.user_id == user_id)


async def of_service_account(transaction: Transaction, account_id: str) -> None:
    await _where(transaction, ApiKey.service_account_id == account_id)


async def of_project(transaction: Transaction, project_id: str) -> None:
    await _where(transaction, ApiKey.project_id == project_id)


async def one(transaction: Transaction, key: ApiKey) -> None:
    await _where(transaction, ApiKey.id == key.id)


async def _where(transaction: Transaction, condition: ColumnElement[bool]) -> None:
    keys = await repository.list_live(transaction, condition)
    for key in keys:
        key.revoked_at = transaction.now
        audit.record(transaction, "api_key.deleted", key.id, project_id=key.project_id)
    await _announce(transaction, keys)


async def _announce(transaction: Transaction, keys: Sequence[ApiKey]) -> None:
    secrets = await repository.secrets_of(transaction, [key.id for key in keys])
    changes = [Change(kind=ChangeKind.KEY_REVOKED, id=each.key_id, key_hash=each.key_hash) for each in secrets]
    if changes:
        await outbox.announce(transaction.session, transaction.organization_id, changes)

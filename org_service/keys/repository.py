"""Queries on project keys and their secrets, scoped to the caller's organization."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, Select, select

from org_service.paging import Cut, Slice, read
from org_service.tables import ApiKey, ApiKeySecret, ServiceAccount, User
from org_service.transaction import Transaction

Owners = dict[str, User | ServiceAccount]


def _live(transaction: Transaction, condition: ColumnElement[bool]) -> Select[ApiKey]:
    return select(ApiKey).where(
        ApiKey.organization_id == transaction.organization_id, ApiKey.revoked_at.is_(None), condition
    )


async def find(transaction: Transaction, project_id: str, key_id: str) -> ApiKey | None:
    query = _live(transaction, ApiKey.project_id == project_id).where(ApiKey.id == key_id)
    return (await transaction.session.execute(query)).scalar_one_or_none()


async def list_page(transaction: Transaction, project_id: str, cut: Cut) -> Slice[ApiKey]:
    return await read(transaction.session, _live(transaction, ApiKey.project_id == project_id), ApiKey.id, cut)


async def list_live(transaction: Transaction, condition: ColumnElement[bool]) -> Sequence[ApiKey]:
    """Every live key that the condition names; locked, because they are about to be revoked."""
    query = _live(transaction, condition).order_by(ApiKey.id).with_for_update()
    return (await transaction.session.execute(query)).scalars().all()


async def secrets_of(transaction: Transaction, key_ids: Iterable[str]) -> Sequence[ApiKeySecret]:
    """The secrets of these keys that may still be presented with success."""
    query = select(ApiKeySecret).where(
        ApiKeySecret.organization_id == transaction.organization_id,
        ApiKeySecret.key_id.in_(list(key_ids)),
        ApiKeySecret.revoked_at.is_(None),
    )
    return (await transaction.session.execute(query.with_for_update())).scalars().all()


async def owners_of(transaction: Transaction, keys: Iterable[ApiKey]) -> Owners:
    """Users and service accounts by id; with removed ones, because their name is still wanted."""
    keys = list(keys)
    users = select(User).where(
        User.organization_id == transaction.organization_id, User.id.in_([key.user_id for key in keys])
    )
    accounts = select(ServiceAccount).where(
        ServiceAccount.organization_id == transaction.organization_id,
        ServiceAccount.id.in_([key.service_account_id for key in keys]),
    )
    found: list[User | ServiceAccount] = [*(await transaction.session.execute(users)).scalars()]
    found += (await transaction.session.execute(accounts)).scalars()
    return {owner.id: owner for owner in found}

"""Queries on admin keys, scoped to the caller's organization."""

from __future__ import annotations

from sqlalchemy import Select, func, select

from org_service.paging import Cut, Slice, read
from org_service.tables import AdminKey, User
from org_service.transaction import Transaction


def _live(transaction: Transaction) -> Select[AdminKey]:
    return select(AdminKey).where(
        AdminKey.organization_id == transaction.organization_id, AdminKey.revoked_at.is_(None)
    )


async def find(transaction: Transaction, key_id: str) -> AdminKey | None:
    return (
        await transaction.session.execute(_live(transaction).where(AdminKey.id == key_id))
    ).scalar_one_or_none()


async def list_page(transaction: Transaction, cut: Cut) -> Slice[AdminKey]:
    return await read(transaction.session, _live(transaction), AdminKey.id, cut)


async def count_lasting(transaction: Transaction) -> int:
    """Live keys that do not expire by themselves."""
    query = _live(transaction).where(AdminKey.expires_at.is_(None)).subquery()
    return (await transaction.session.execute(select(func.count()).select_from(query))).scalar_one()


async def owners_of(transaction: Transaction, user_ids: list[str]) -> dict[str, User]:
    query = select(User).where(User.organization_id == transaction.organization_id, User.id.in_(user_ids))
    return {user.id: user for user in (await transaction.session.execute(query)).scalars()}


async def revoke_of_user(transaction: Transaction, user_id: str) -> None:
    query = _live(transaction).where(AdminKey.user_id == user_id).order_by(AdminKey.id).with_for_update()
    for key in (await transaction.session.execute(query)).scalars():
        key.revoked_at = transaction.now

"""Queries on users, scoped to the caller's organization."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Select, func, select

from org_service.paging import Cut, Slice, read
from org_service.tables import User
from org_service.transaction import Transaction


def _live(transaction: Transaction) -> Select[User]:
    return select(User).where(User.organization_id == transaction.organization_id, User.removed_at.is_(None))


async def find(transaction: Transaction, user_id: str) -> User | None:
    return (await transaction.session.execute(_live(transaction).where(User.id == user_id))).scalar_one_or_none()


async def find_by_email(transaction: Transaction, email: str) -> User | None:
    query = _live(transaction).where(func.lower(User.email) == email.lower())
    return (await transaction.session.execute(query)).scalar_one_or_none()


async def list_page(transaction: Transaction, emails: Sequence[str], cut: Cut) -> Slice[User]:
    query = _live(transaction)
    if emails:
        query = query.where(func.lower(User.email).in_([email.lower() for email in emails]))
    return await read(transaction.session, query, User.id, cut)


async def count_owners(transaction: Transaction) -> int:
    query = _live(transaction).where(User.role == "owner").subquery()
    return (await transaction.session.execute(select(func.count()).select_from(query))).scalar_one()

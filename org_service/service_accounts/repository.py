"""Queries on service accounts, scoped to the caller's organization."""

from __future__ import annotations

from sqlalchemy import Select, select

from org_service.paging import Cut, Slice, read
from org_service.tables import ServiceAccount
from org_service.transaction import Transaction


def _live(transaction: Transaction, project_id: str) -> Select[ServiceAccount]:
    return select(ServiceAccount).where(
        ServiceAccount.organization_id == transaction.organization_id,
        ServiceAccount.project_id == project_id,
        ServiceAccount.deleted_at.is_(None),
    )


async def find(transaction: Transaction, project_id: str, account_id: str) -> ServiceAccount | None:
    query = _live(transaction, project_id).where(ServiceAccount.id == account_id)
    return (await transaction.session.execute(query)).scalar_one_or_none()


async def list_page(transaction: Transaction, project_id: str, cut: Cut) -> Slice[ServiceAccount]:
    return await read(transaction.session, _live(transaction, project_id), ServiceAccount.id, cut)

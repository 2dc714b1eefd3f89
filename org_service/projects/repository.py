"""Queries on projects, scoped to the caller's organization."""

from __future__ import annotations

from sqlalchemy import select

from org_service.paging import Cut, Slice, read
from org_service.tables import Project
from org_service.transaction import Transaction


async def find(transaction: Transaction, project_id: str) -> Project | None:
    query = select(Project).where(Project.organization_id == transaction.organization_id, Project.id == project_id)
    return (await transaction.session.execute(query)).scalar_one_or_none()


async def list_page(transaction: Transaction, include_archived: bool, cut: Cut) -> Slice[Project]:
    query = select(Project).where(Project.organization_id == transaction.organization_id)
    if not include_archived:
        query = query.where(Project.archived_at.is_(None))
    return await read(transaction.session, query, Project.id, cut)

"""Queries on the audit log, scoped to the caller's organization."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from org_service.paging import Cut, Slice, read
from org_service.tables import AuditLog, Project
from org_service.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Filters:
    """An empty list and None mean: do not filter. Times are [from, before)."""

    event_types: list[str]
    project_ids: list[str]
    resource_ids: list[str]
    actor_ids: list[str]
    actor_emails: list[str]
    effective_from: datetime | None = None
    effective_before: datetime | None = None


async def list_page(transaction: Transaction, filters: Filters, cut: Cut) -> Slice[AuditLog]:
    query = select(AuditLog).where(AuditLog.organization_id == transaction.organization_id)
    for column, wanted in (
        (AuditLog.type, filters.event_types),
        (AuditLog.project_id, filters.project_ids),
        (AuditLog.resource_id, filters.resource_ids),
        (AuditLog.actor_user_id, filters.actor_ids),
        (AuditLog.actor_email, filters.actor_emails),
    ):
        if wanted:
            query = query.where(column.in_(wanted))
    if filters.effective_from is not None:
        query = query.where(AuditLog.effective_at >= filters.effective_from)
    if filters.effective_before is not None:
        query = query.where(AuditLog.effective_at < filters.effective_before)
    return await read(transaction.session, query, AuditLog.id, cut)


async def project_names(transaction: Transaction, project_ids: set[str]) -> dict[str, str]:
    query = select(Project.id, Project.name).where(
        Project.organization_id == transaction.organization_id, Project.id.in_(project_ids)
    )
    return dict((await transaction.session.execute(query)).all())

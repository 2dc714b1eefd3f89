"""/v1/organization/audit_logs"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from org_service.audit_logs import repository
from org_service.audit_logs.repository import Filters
from org_service.audit_logs.schemas import AuditLogView
from org_service.paging import NewestFirst, Page, page
from org_service.transaction import Admin

router = APIRouter(prefix="/v1/organization/audit_logs", tags=["Audit logs"])


def _names(alias: str) -> list[str]:
    value: list[str] = Query(default=[], alias=alias, max_length=100)
    return value


def _time(alias: str) -> int | None:
    value: int | None = Query(default=None, alias=alias, ge=0, le=4_102_444_800)
    return value


def _earliest(at_least: int | None, above: int | None) -> datetime | None:
    bounds = [each for each in (at_least, None if above is None else above + 1) if each is not None]
    return datetime.fromtimestamp(max(bounds), UTC) if bounds else None


def _before(at_most: int | None, below: int | None) -> datetime | None:
    bounds = [each for each in (None if at_most is None else at_most + 1, below) if each is not None]
    return datetime.fromtimestamp(min(bounds), UTC) if bounds else None


def _filters(
    event_types: list[str] = _names("event_types[]"),
    project_ids: list[str] = _names("project_ids[]"),
    resource_ids: list[str] = _names("resource_ids[]"),
    actor_ids: list[str] = _names("actor_ids[]"),
    actor_emails: list[str] = _names("actor_emails[]"),
    gte: int | None = _time("effective_at[gte]"),
    gt: int | None = _time("effective_at[gt]"),
    lte: int | None = _time("effective_at[lte]"),
    lt: int | None = _time("effective_at[lt]"),
) -> Filters:
    earliest, before = _earliest(gte, gt), _before(lte, lt)
    return Filters(event_types, project_ids, resource_ids, actor_ids, actor_emails, earliest, before)


@router.get("")
async def list_audit_logs(
    transaction: Admin, cut: NewestFirst, filters: Annotated[Filters, Depends(_filters)]
) -> Page[AuditLogView]:
    """Newest first, whole seconds."""
    part = await repository.list_page(transaction, filters, cut)
    names = await repository.project_names(transaction, {row.project_id for row in part.rows if row.project_id})
    return page(part, lambda row: AuditLogView.of(row, names))

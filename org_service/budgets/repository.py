"""Queries on the limits of one level, scoped to the caller's organization."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, and_, delete, select
from sqlalchemy.dialects.postgresql import insert

from org_service.level import Level
from org_service.paging import Cut, Slice, read
from org_service.tables import ConcurrencyLimit, RateLimit, SpendAlert, SpendLimit
from org_service.transaction import Transaction

LimitTable = type[SpendLimit] | type[RateLimit] | type[ConcurrencyLimit]
Limit = TypeVar("Limit", SpendLimit, RateLimit, ConcurrencyLimit)


def _on(table: LimitTable | type[SpendAlert], transaction: Transaction, level: Level) -> ColumnElement[bool]:
    return and_(
        table.organization_id == transaction.organization_id,
        table.level_kind == level.kind.value,
        table.level_id == level.id,
    )


async def list_limits(table: type[Limit], transaction: Transaction, level: Level) -> Sequence[Limit]:
    query = select(table).where(_on(table, transaction, level)).execution_options(populate_existing=True)
    return (await transaction.session.execute(query)).scalars().all()


async def put(table: LimitTable, transaction: Transaction, level: Level, values: dict[str, Any]) -> None:
    """Insert a limit, or replace the one of the same level (and interval or model)."""
    row = {
        "organization_id": transaction.organization_id,
        "level_kind": level.kind.value,
        "level_id": level.id,
    } | values
    keys = [column.name for column in table.__table__.primary_key]
    statement = insert(table).values(row).on_conflict_do_update(index_elements=keys, set_=row)
    await transaction.session.execute(statement)


async def clear(table: LimitTable, transaction: Transaction, level: Level) -> int:
    """How many there were."""
    statement = delete(table).where(_on(table, transaction, level)).returning(table.level_id)
    return len((await transaction.session.execute(statement)).all())


async def clear_spend(transaction: Transaction, level: Level, periods: Iterable[str]) -> int:
    condition = and_(_on(SpendLimit, transaction, level), SpendLimit.period.in_(list(periods)))
    statement = delete(SpendLimit).where(condition).returning(SpendLimit.level_id)
    return len((await transaction.session.execute(statement)).all())


async def find_alert(transaction: Transaction, level: Level, alert_id: str) -> SpendAlert | None:
    query = select(SpendAlert).where(_on(SpendAlert, transaction, level), SpendAlert.id == alert_id)
    return (await transaction.session.execute(query)).scalar_one_or_none()


async def list_alerts(transaction: Transaction, level: Level, cut: Cut) -> Slice[SpendAlert]:
    query = select(SpendAlert).where(_on(SpendAlert, transaction, level))
    return await read(transaction.session, query, SpendAlert.id, cut)

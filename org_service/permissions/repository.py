"""Queries on model permissions, scoped to the caller's organization."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, delete, select
from sqlalchemy.dialects.postgresql import insert

from org_service.level import Level
from org_service.tables import ModelPermission
from org_service.transaction import Transaction


def _on(transaction: Transaction, level: Level) -> ColumnElement[bool]:
    return and_(
        ModelPermission.organization_id == transaction.organization_id,
        ModelPermission.level_kind == level.kind.value,
        ModelPermission.level_id == level.id,
    )


async def find(transaction: Transaction, level: Level) -> ModelPermission | None:
    query = select(ModelPermission).where(_on(transaction, level)).execution_options(populate_existing=True)
    return (await transaction.session.execute(query)).scalar_one_or_none()


async def put(transaction: Transaction, level: Level, mode: str, model_ids: Sequence[str]) -> None:
    row = {
        "organization_id": transaction.organization_id,
        "level_kind": level.kind.value,
        "level_id": level.id,
        "mode": mode,
        "model_ids": list(model_ids),
    }
    statement = insert(ModelPermission).values(row)
    statement = statement.on_conflict_do_update(index_elements=["level_kind", "level_id"], set_=row)
    await transaction.session.execute(statement)


async def clear(transaction: Transaction, level: Level) -> bool:
    """Whether there were any."""
    statement = delete(ModelPermission).where(_on(transaction, level)).returning(ModelPermission.level_id)
    return (await transaction.session.execute(statement)).first() is not None

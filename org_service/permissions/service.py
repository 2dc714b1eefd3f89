"""Allow-lists and deny-lists of models, on projects and on keys; both have to agree."""

from __future__ import annotations

from org_service.budgets.service import changed
from org_service.catalog import names
from org_service.errors import NotFoundError
from org_service.level import Level
from org_service.permissions import repository
from org_service.permissions.schemas import PermissionsUpdate
from org_service.tables import ModelPermission
from org_service.transaction import Transaction


async def get(transaction: Transaction, level: Level) -> ModelPermission:
    row = await repository.find(transaction, level)
    if row is None:
        raise NotFoundError(f"No model permissions are set on this {level.kind}.")
    return row


async def replace(
    transaction: Transaction, level: Level, body: PermissionsUpdate, project_id: str | None
) -> ModelPermission:
    canonical = await names.canonical(transaction.session, body.model_ids, param="model_ids")
    model_ids = sorted(set(canonical.values()))
    await repository.put(transaction, level, body.mode.value, model_ids)
    changes = {"mode": body.mode.value, "model_ids": model_ids}
    await changed(transaction, level, "model_permissions.updated", project_id, changes)
    return await get(transaction, level)


async def delete(transaction: Transaction, level: Level, project_id: str | None) -> None:
    if not await repository.clear(transaction, level):
        raise NotFoundError(f"No model permissions are set on this {level.kind}.")
    await changed(transaction, level, "model_permissions.deleted", project_id, None)

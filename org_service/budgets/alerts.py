"""Spend alerts: soft thresholds, which reach routers as percents of the spend limit of the same interval."""

from __future__ import annotations

from org_service.budgets import repository
from org_service.budgets.schemas import SpendAlertBody
from org_service.budgets.service import changed
from org_service.errors import found
from org_service.ids import new_id
from org_service.level import Level
from org_service.tables import SpendAlert
from org_service.transaction import Transaction


async def get(transaction: Transaction, level: Level, alert_id: str) -> SpendAlert:
    return found(await repository.find_alert(transaction, level, alert_id), "spend alert", alert_id)


async def create(
    transaction: Transaction, level: Level, body: SpendAlertBody, project_id: str | None
) -> SpendAlert:
    alert = SpendAlert(
        id=new_id("alert"),
        organization_id=transaction.organization_id,
        level_kind=level.kind.value,
        level_id=level.id,
        created_at=transaction.now,
    )
    _fill(alert, body)
    transaction.session.add(alert)
    await transaction.session.flush()
    await changed(transaction, level, "spend_alert.created", project_id, body.model_dump(mode="json"))
    return alert


async def update(
    transaction: Transaction, level: Level, alert_id: str, body: SpendAlertBody, project_id: str | None
) -> SpendAlert:
    alert = await get(transaction, level, alert_id)
    _fill(alert, body)
    await changed(transaction, level, "spend_alert.updated", project_id, body.model_dump(mode="json"))
    return alert


async def delete(transaction: Transaction, level: Level, alert_id: str, project_id: str | None) -> None:
    await transaction.session.delete(await get(transaction, level, alert_id))
    await changed(transaction, level, "spend_alert.deleted", project_id, None)


def _fill(alert: SpendAlert, body: SpendAlertBody) -> None:
    alert.period = body.interval
    alert.threshold_cents = body.threshold_amount
    alert.recipients = list(body.notification_channel.recipients)
    alert.subject_prefix = body.notification_channel.subject_prefix

"""Spend limits, spend alerts and rate limits as OpenAI has them, and the limits object on every level.

The same few routes hang below several prefixes; `find_level` turns each one's path into the level it names.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends

from contracts.grant import LevelKind
from org_service.budgets import alerts, levels, repository, service
from org_service.budgets.schemas import (
    Interval,
    LimitsUpdate,
    LimitsView,
    RateLimitUpdate,
    RateLimitView,
    SpendAlertBody,
    SpendAlertView,
    SpendLimitBody,
    SpendLimitView,
)
from org_service.level import Level
from org_service.paging import HundredAPage, Page, PageQuery, page, read_memory
from org_service.transaction import Admin
from org_service.wire import Deleted, DeletedSingleton

FindLevel = Callable[..., Awaitable[Level]]

_ORGANIZATION = "/v1/organization"
_PROJECT = "/v1/organization/projects/{project_id}"


def _project_of(level: Level) -> str | None:
    return level.id if level.kind is LevelKind.PROJECT else None


def _spend_limits(prefix: str, find_level: FindLevel) -> APIRouter:
    router = APIRouter(prefix=f"{prefix}/spend_limit", tags=["Spend limits"])

    @router.get("")
    async def retrieve_spend_limit(
        transaction: Admin, interval: Interval | None = None, level: Level = Depends(find_level)
    ) -> SpendLimitView:
        return SpendLimitView.of(await service.get_spend(transaction, level, interval))

    @router.post("")
    async def update_spend_limit(
        transaction: Admin, body: SpendLimitBody, level: Level = Depends(find_level)
    ) -> SpendLimitView:
        return SpendLimitView.of(await service.set_spend(transaction, level, body, _project_of(level)))

    @router.delete("")
    async def delete_spend_limit(
        transaction: Admin, interval: Interval | None = None, level: Level = Depends(find_level)
    ) -> DeletedSingleton:
        await service.delete_spend(transaction, level, interval, _project_of(level))
        return DeletedSingleton(object=f"{level.kind}.spend_limit.deleted")

    return router


def _spend_alerts(prefix: str, find_level: FindLevel) -> APIRouter:
    router = APIRouter(prefix=f"{prefix}/spend_alerts", tags=["Spend alerts"])

    @router.get("")
    async def list_spend_alerts(
        transaction: Admin, cut: PageQuery, level: Level = Depends(find_level)
    ) -> Page[SpendAlertView]:
        return page(await repository.list_alerts(transaction, level, cut), SpendAlertView.of)

    @router.post("")
    async def create_spend_alert(
        transaction: Admin, body: SpendAlertBody, level: Level = Depends(find_level)
    ) -> SpendAlertView:
        return SpendAlertView.of(await alerts.create(transaction, level, body, _project_of(level)))

    @router.get("/{alert_id}")
    async def retrieve_spend_alert(
        transaction: Admin, alert_id: str, level: Level = Depends(find_level)
    ) -> SpendAlertView:
        return SpendAlertView.of(await alerts.get(transaction, level, alert_id))

    @router.post("/{alert_id}")
    async def update_spend_alert(
        transaction: Admin, alert_id: str, body: SpendAlertBody, level: Level = Depends(find_level)
    ) -> SpendAlertView:
        return SpendAlertView.of(await alerts.update(transaction, level, alert_id, body, _project_of(level)))

    @router.delete("/{alert_id}")
    async def delete_spend_alert(transaction: Admin, alert_id: str, level: Level = Depends(find_level)) -> Deleted:
        await alerts.delete(transaction, level, alert_id, _project_of(level))
        return Deleted(id=alert_id, object=f"{level.kind}.spend_alert.deleted")

    return router


def _limits(prefix: str, find_level: FindLevel) -> APIRouter:
    router = APIRouter(prefix=f"{prefix}/limits", tags=["Limits"])

    @router.get("")
    async def retrieve_limits(transaction: Admin, level: Level = Depends(find_level)) -> LimitsView:
        return await service.get_limits(transaction, level)

    @router.post("")
    async def update_limits(
        transaction: Admin, body: LimitsUpdate, level: Level = Depends(find_level)
    ) -> LimitsView:
        await service.apply(transaction, level, body, _project_of(level))
        return await service.get_limits(transaction, level)

    return router


def _rate_limits() -> APIRouter:
    router = APIRouter(prefix=f"{_PROJECT}/rate_limits", tags=["Rate limits"])

    @router.get("")
    async def list_project_rate_limits(
        transaction: Admin, cut: HundredAPage, level: ProjectLevel
    ) -> Page[RateLimitView]:
        rates = await service.list_rates(transaction, level)
        return page(read_memory(rates, lambda view: view.id, cut), lambda view: view)

    @router.post("/{rate_limit_id}")
    async def update_project_rate_limit(
        transaction: Admin, rate_limit_id: str, body: RateLimitUpdate, level: ProjectLevel
    ) -> RateLimitView:
        return await service.update_rate(transaction, level, rate_limit_id, body, level.id)

    return router


ProjectLevel = Annotated[Level, Depends(levels.of_project)]

_LIMITED: dict[str, FindLevel] = {
    _ORGANIZATION: levels.of_organization,
    _PROJECT: levels.of_project,
    _ORGANIZATION + "/users/{user_id}": levels.of_user,
    _PROJECT + "/service_accounts/{service_account_id}": levels.of_service_account,
    _PROJECT + "/api_keys/{api_key_id}": levels.of_key,
}

routers = [
    _rate_limits(),
    *(
        build(prefix, _LIMITED[prefix])
        for build in (_spend_limits, _spend_alerts)
        for prefix in (_ORGANIZATION, _PROJECT)
    ),
    *(_limits(prefix, find_level) for prefix, find_level in _LIMITED.items()),
]

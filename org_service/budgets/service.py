"""Spend, rate and concurrency limits. Every change is announced, so that routers ask for the grants again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from contracts.grant import Period
from org_service import audit, outbox
from org_service.budgets import repository
from org_service.budgets.schemas import (
    PERIOD_ORDER,
    LimitsUpdate,
    LimitsView,
    RateLimitUpdate,
    RateLimitView,
    RatePart,
    SpendLimitBody,
    SpendPart,
)
from org_service.catalog import names
from org_service.errors import NotFoundError, found
from org_service.level import Level
from org_service.tables import ConcurrencyLimit, RateLimit, SpendLimit
from org_service.transaction import Transaction

EVERY_MODEL = "*"


async def changed(
    transaction: Transaction, level: Level, event_type: str, project_id: str | None, changes: dict[str, Any] | None
) -> None:
    """Announce and audit a change of what stands on `level`."""
    await outbox.announce(transaction.session, transaction.organization_id, [level.change()])
    audit.record(transaction, event_type, level.id, project_id=project_id, changes=changes)


async def get_spend(transaction: Transaction, level: Level, interval: str | None) -> SpendLimit:
    rows = {row.period: row for row in await repository.list_limits(SpendLimit, transaction, level)}
    wanted = [interval] if interval is not None else [period.value for period in PERIOD_ORDER]
    first = next((rows[period] for period in wanted if period in rows), None)
    if first is None:
        raise NotFoundError(f"No spend limit is set on this {level.kind}.")
    return first


async def set_spend(
    transaction: Transaction, level: Level, body: SpendLimitBody, project_id: str | None = None
) -> SpendLimit:
    values = {"period": body.interval, "threshold_cents": body.threshold_amount}
    await repository.put(SpendLimit, transaction, level, values)
    await changed(transaction, level, "spend_limit.updated", project_id, body.model_dump(mode="json"))
    return await get_spend(transaction, level, body.interval)


async def delete_spend(
    transaction: Transaction, level: Level, interval: str | None, project_id: str | None = None
) -> None:
    periods = [interval] if interval is not None else list(Period)
    if await repository.clear_spend(transaction, level, periods) == 0:
        raise NotFoundError(f"No spend limit is set on this {level.kind}.")
    await changed(transaction, level, "spend_limit.deleted", project_id, None)


def rate_limit_id(model: str) -> str:
    """A stable id without the model's punctuation, as it becomes part of a path."""
    return f"rl_{hashlib.sha256(model.encode()).hexdigest()[:24]}"


async def list_rates(transaction: Transaction, level: Level) -> list[RateLimitView]:
    """One entry for every model of the catalog and one over all, whether limited or not."""
    rows = {row.model_id: row for row in await repository.list_limits(RateLimit, transaction, level)}
    models = [EVERY_MODEL, *await names.list_models(transaction.session)]
    return [_rate_view(model, rows.get("" if model == EVERY_MODEL else model)) for model in models]


def _rate_view(model: str, row: RateLimit | None) -> RateLimitView:
    return RateLimitView(
        id=rate_limit_id(model),
        model=model,
        max_requests_per_1_minute=row.requests_per_minute if row else None,
        max_tokens_per_1_minute=row.tokens_per_minute if row else None,
    )


async def update_rate(
    transaction: Transaction, level: Level, limit_id: str, body: RateLimitUpdate, project_id: str | None = None
) -> RateLimitView:
    rates = {view.id: view for view in await list_rates(transaction, level)}
    old = found(rates.get(limit_id), "rate limit", limit_id)
    changes = body.model_dump(exclude_unset=True)
    new = old.model_copy(update=changes)
    values = {
        "model_id": "" if new.model == EVERY_MODEL else new.model,
        "requests_per_minute": new.max_requests_per_1_minute,
        "tokens_per_minute": new.max_tokens_per_1_minute,
    }
    await repository.put(RateLimit, transaction, level, values)
    await changed(transaction, level, "rate_limit.updated", project_id, {"model": new.model} | changes)
    return new


async def get_limits(transaction: Transaction, level: Level) -> LimitsView:
    spend = await repository.list_limits(SpendLimit, transaction, level)
    rates = await repository.list_limits(RateLimit, transaction, level)
    calls = await repository.list_limits(ConcurrencyLimit, transaction, level)
    return LimitsView(
        object=f"{level.kind}.limits",
        spend=[_spend_part(row) for row in spend],
        rates=[_rate_part(row) for row in rates],
        max_concurrent_requests=calls[0].calls if calls else None,
    )


def _spend_part(row: SpendLimit) -> SpendPart:
    return SpendPart.model_validate({"threshold_amount": row.threshold_cents, "interval": row.period})


def _rate_part(row: RateLimit) -> RatePart:
    return RatePart(
        model=row.model_id or None,
        max_requests_per_1_minute=row.requests_per_minute,
        max_tokens_per_1_minute=row.tokens_per_minute,
    )


async def apply(transaction: Transaction, level: Level, body: LimitsUpdate, project_id: str | None = None) -> None:
    """Replace what the body names; the rest stays."""
    if "spend" in body.model_fields_set:
        await _replace_spend(transaction, level, body.spend or [])
    if "rates" in body.model_fields_set:
        await _replace_rates(transaction, level, body.rates or [])
    if "max_concurrent_requests" in body.model_fields_set:
        await _replace_concurrency(transaction, level, body.max_concurrent_requests)
    changes = body.model_dump(mode="json", exclude_unset=True)
    await changed(transaction, level, "rate_limit.updated", project_id, changes)


async def _replace_spend(transaction: Transaction, level: Level, parts: Sequence[SpendPart]) -> None:
    await repository.clear(SpendLimit, transaction, level)
    for part in parts:
        values = {"period": part.interval, "threshold_cents": part.threshold_amount}
        await repository.put(SpendLimit, transaction, level, values)


async def _replace_rates(transaction: Transaction, level: Level, parts: Sequence[RatePart]) -> None:
    await repository.clear(RateLimit, transaction, level)
    named = [part.model for part in parts if part.model is not None]
    canonical = await names.canonical(transaction.session, named, param="rates")
    for part in parts:
        values = {
            "model_id": "" if part.model is None else canonical[part.model],
            "requests_per_minute": part.max_requests_per_1_minute,
            "tokens_per_minute": part.max_tokens_per_1_minute,
        }
        await repository.put(RateLimit, transaction, level, values)


async def _replace_concurrency(transaction: Transaction, level: Level, calls: int | None) -> None:
    await repository.clear(ConcurrencyLimit, transaction, level)
    if calls is not None:
        await repository.put(ConcurrencyLimit, transaction, level, {"calls": calls})

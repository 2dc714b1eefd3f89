"""Grants, requests and events to ask a ledger with, and a clock to turn."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from contracts.catalog import Operation, Price
from contracts.grant import Grant, Level, LevelKind, OwnerKind, Period, RateLimit, SpendLimit
from contracts.pricing import Tokens, cost_nano_usd
from contracts.usage_event import UsageEvent, UsageSource
from router.ports import EventSeed, PricedAmount, Reservation, ReserveRequest

MODEL = "model-1"
START = datetime(2026, 11, 20, 23, 59, 0, tzinfo=UTC)


@dataclass(slots=True)
class Clock:
    """Microseconds that stand still until turned."""

    now_us: int = int(START.timestamp()) * 1_000_000

    def __call__(self) -> int:
        return self.now_us

    def turn(self, seconds: float) -> None:
        self.now_us += round(seconds * 1_000_000)


def price(version: str = "v1", *, since: datetime = datetime(2026, 1, 1, tzinfo=UTC), rate: int = 10**9) -> Price:
    """At the default rate a token costs 1,000 nano-USD."""
    return Price(
        version=version,
        effective_from=since,
        input_nano_usd_per_million=rate,
        output_nano_usd_per_million=rate,
    )


def grant(organization_id: str = "org_1", **limits: dict[str, Any]) -> Grant:
    """`limits` by level, e.g. project={"spend": (spend(5),), "concurrency": 2}. Ids start with the organization's,
    so that two organizations share nothing."""
    ids = [organization_id, *(f"{organization_id}.{kind}_1" for kind in ("project", "user", "key"))]
    levels = [
        Level(kind=kind, id=level_id, **limits.get(kind.value, {}))
        for kind, level_id in zip(LevelKind, ids, strict=True)
    ]
    return Grant(
        key_id=ids[3],
        organization_id=ids[0],
        project_id=ids[1],
        owner_kind=OwnerKind.USER,
        owner_id=ids[2],
        levels=(levels[0], levels[1], levels[2], levels[3]),
    )


def spend(limit_nano_usd: int, period: Period = Period.MONTH) -> SpendLimit:
    return SpendLimit(limit_nano_usd=limit_nano_usd, period=period)


def rate(requests: int | None = None, tokens: int | None = None, model_id: str | None = None) -> RateLimit:
    return RateLimit(model_id=model_id, requests_per_minute=requests, tokens_per_minute=tokens)


def request(holder: Grant, amount: int = 1000, tokens: int = 10, **changes: Any) -> ReserveRequest:
    fields = {
        "call_id": str(uuid.uuid4()),
        "grant": holder,
        "model_id": MODEL,
        "tokens": tokens,
        "amounts": (PricedAmount(price(), amount),),
        "seed": EventSeed(operation=Operation.CHAT, stream=True, input_tokens=7),
    }
    return ReserveRequest(**(fields | changes))


def event(reservation: Reservation, tokens: Tokens = Tokens(input=3, output=4), **changes: Any) -> UsageEvent:
    """The settlement of a call that used `tokens`, charged at the reservation's price."""
    fields = {
        "event_id": reservation.call_id,
        "occurred_at": reservation.occurred_at,
        "organization_id": reservation.grant.organization_id,
        "project_id": reservation.grant.project_id,
        "key_id": reservation.grant.key_id,
        "owner_kind": reservation.grant.owner_kind,
        "owner_id": reservation.grant.owner_id,
        "operation": reservation.seed.operation,
        "model_id": reservation.model_id,
        "stream": reservation.seed.stream,
        "usage_source": UsageSource.REPORTED,
        "tokens": tokens,
        "cost_nano_usd": cost_nano_usd(tokens, reservation.price),
        "price_version": reservation.price.version,
    }
    return UsageEvent(**(fields | changes))

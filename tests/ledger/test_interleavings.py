"""Random interleavings of every step, with lost replies and period rollovers: the invariants hold on the twin, on
Redis and on Redis Cluster, and all three answer the same, word for word."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.grant import Grant, Period
from contracts.pricing import Tokens
from contracts.topology import shard_of
from contracts.usage_event import decode
from router.duties.reap import reaped_event
from router.ledger.memory_ledger import MemoryLedger
from router.ledger.memory_outbox import MemoryOutbox
from router.ledger.pipeline import ScriptPipeline
from router.ledger.plan import from_us
from router.ledger.redis_ledger import RedisLedger
from router.ledger.redis_outbox import RedisOutbox
from router.ports import (
    ExtendOutcome,
    Headroom,
    Ledger,
    LedgerUnavailableError,
    Outbox,
    PricedAmount,
    Refused,
    Reservation,
    ReserveRequest,
    SettleOutcome,
    UnpricedError,
)
from tests.ledger.calls import Clock, event, grant, price, rate, request, spend
from tests.ports.conftest import emptied

CALLS = 4
PRICES = (price("v1"), price("v2", since=datetime(2026, 11, 21, tzinfo=UTC), rate=2 * 10**9))
TURNS = (0.001, 1.0, 9.0, 11.0, 70.0, 3600.0, 86_400.0, 5 * 86_400.0, 32 * 86_400.0)

calls = st.integers(0, CALLS - 1)
counts = st.integers(0, 30)
coarse = st.sampled_from([0, 1000, 10_000, 20_000, 40_000])
"""Amounts that meet limits exactly."""
reserving = st.tuples(st.just("reserve"), calls, coarse, st.integers(0, 60))
steps = st.one_of(
    reserving,
    reserving,
    st.tuples(st.just("extend"), calls, counts, coarse, counts),
    st.tuples(st.just("settle"), calls, counts),
    st.tuples(st.just("release"), calls),
    st.tuples(st.just("reap")),
    st.tuples(st.just("turn"), st.sampled_from(TURNS)),
)
amounts = st.none() | st.sampled_from([20_000, 40_000, 70_000, 150_000])
limits = st.fixed_dictionaries(
    {
        "day": amounts,
        "month": amounts,
        "total": amounts,
        "requests": st.none() | st.integers(1, 9),
        "tokens": st.none() | st.integers(40, 200),
        "slots": st.none() | st.integers(1, 4),
    }
)


def holder_of(organization_id: str, drawn: dict[str, int | None]) -> Grant:
    def spends(name: str, period: Period) -> tuple[Any, ...]:
        limit = drawn[name]
        return () if limit is None else (spend(limit, period),)

    rates = (rate(drawn["requests"], drawn["tokens"]),)
    return grant(
        organization_id,
        organization={"spend": spends("total", Period.NONE), "rates": rates},
        project={"spend": spends("month", Period.MONTH), "concurrency": drawn["slots"]},
        user={"rates": (rate(tokens=drawn["tokens"], model_id="model-1"),)},
        key={"spend": spends("day", Period.DAY) + spends("month", Period.MONTH)},
    )


@dataclass(slots=True)
class Walk:
    """One run of the drawn steps. `replicas` take turns, as routers in front of one Redis do."""

    replicas: list[Ledger]
    outbox: Outbox
    clock: Clock
    holder: Grant
    trace: list[Any] = field(default_factory=list)
    known: dict[int, Reservation] = field(default_factory=dict)
    turn: int = 0

    @property
    def ledger(self) -> Ledger:
        self.turn += 1
        return self.replicas[self.turn % len(self.replicas)]

    async def take(self, step: tuple[Any, ...], is_reply_lost: bool) -> None:
        """A step whose reply is lost is asked for again, as a caller does that heard nothing."""
        does: Callable[..., Awaitable[Any]] = getattr(self, step[0])
        self.trace.append(await does(*step[1:]))
        if is_reply_lost and step[0] != "extend":
            self.trace.append(await does(*step[1:]))
        await self.check()

    async def reserve(self, call: int, amount: int, tokens: int) -> Any:
        try:
            verdict = await self.ledger.reserve(self.request(call, amount, tokens))
        except (LedgerUnavailableError, UnpricedError) as error:
            return type(error)
        if isinstance(verdict, Refused):
            return replace(verdict, level_id="")
        is_again = call in self.known
        self.known[call] = verdict
        told = (verdict.occurred_at, verdict.price.version, verdict.reserved_nano_usd, verdict.reserved_tokens)
        return told if is_again else (*told, verdict.headroom)

    async def extend(self, call: int, count: int, more: int, more_tokens: int) -> ExtendOutcome:
        counted = Tokens(input=count, output=count)
        return await self.ledger.extend(self.reservation(call), counted, more, more_tokens)

    async def settle(self, call: int, count: int) -> SettleOutcome:
        return await self.ledger.settle(
            self.reservation(call), event(self.reservation(call), Tokens(output=count))
        )

    async def release(self, call: int) -> None:
        await self.ledger.release(self.call_id(call), self.holder)

    async def reap(self) -> list[tuple[str, int, bool]]:
        found = []
        for overdue in await self.ledger.overdue(shard_of(self.holder.organization_id), 100):
            if overdue.call_id.startswith(self.holder.organization_id):
                charged = reaped_event(overdue)
                won = await self.ledger.reap(overdue, charged)
                found.append((overdue.call_id[-2:], charged.cost_nano_usd, won))
        return sorted(found)

    async def check(self) -> None:
        """Nobody holds less than nothing, and what is held beyond what is spent belongs to calls in flight."""
        for balance in await self.ledger.balances(self.holder):
            assert balance.slots >= 0
            for period, held in balance.held_nano_usd.items():
                reserved = held - balance.spent_nano_usd.get(period, 0)
                assert reserved >= 0
                assert balance.slots or not reserved

    async def finish(self) -> None:
        """Settle what is open, let the reaper take the rest: nothing stays, and every nano-USD has its event."""
        for call in list(self.known):
            await self.settle(call, 1)
        self.clock.turn(3600)
        await self.reap()
        total = 0
        while entries := await self.outbox.read(shard_of(self.holder.organization_id), 100):
            for entry in entries:
                left = decode(json.loads(entry.event))
                total += left.cost_nano_usd if left.organization_id == self.holder.organization_id else 0
            await self.outbox.remove(shard_of(self.holder.organization_id), [entry.entry_id for entry in entries])
        balances = await self.ledger.balances(self.holder)
        self.trace += [(balance.spent_nano_usd, balance.held_nano_usd, balance.slots) for balance in balances]
        for balance in balances:
            assert balance.slots == 0
            assert {period: held for period, held in balance.held_nano_usd.items() if held} == {
                period: spent for period, spent in balance.spent_nano_usd.items() if spent
            }
            assert balance.spent_nano_usd.get("all", 0) == total, "sum(ledger) = sum(events)"

    def call_id(self, call: int) -> str:
        return f"{self.holder.organization_id}-{call:02d}"

    def request(self, call: int, amount: int, tokens: int) -> ReserveRequest:
        priced = tuple(PricedAmount(price, amount * (index + 1)) for index, price in enumerate(PRICES))
        return request(self.holder, call_id=self.call_id(call), tokens=tokens, amounts=priced)

    def reservation(self, call: int) -> Reservation:
        """What the router holds; for a call that the ledger refused or never saw, what it might believe in."""
        asked = self.request(call, 1000, 10)
        stranger = Reservation(
            call_id=asked.call_id,
            grant=self.holder,
            model_id=asked.model_id,
            occurred_at=from_us(self.clock.now_us),
            price=PRICES[0],
            reserved_nano_usd=1000,
            reserved_tokens=10,
            headroom=Headroom(),
            seed=asked.seed,
        )
        return self.known.setdefault(call, stranger)


Parts: TypeAlias = tuple[list[Ledger], Outbox]


async def walk(made: Callable[[Clock], Parts], drawn: dict[str, Any], plan: list[Any]) -> list[Any]:
    clock = Clock()
    replicas, outbox = made(clock)
    walk = Walk(replicas, outbox, clock, holder_of(f"org-{uuid.uuid4()}", drawn))
    for step, is_reply_lost in plan:
        if step[0] == "turn":
            clock.turn(step[1])
        else:
            await walk.take(step, is_reply_lost)
    await walk.finish()
    return walk.trace


def in_memory(clock: Clock) -> Parts:
    outbox = MemoryOutbox()
    return [MemoryLedger(outbox, clock=clock)], outbox


@pytest.fixture(params=["redis", "cluster"])
async def pipelines(request: pytest.FixtureRequest) -> AsyncIterator[list[ScriptPipeline]]:
    address = emptied(request, request.param)
    pipelines = [ScriptPipeline(address, cluster=request.param == "cluster") for _ in range(2)]
    yield pipelines
    for pipeline in pipelines:
        await pipeline.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=limits, plan=st.lists(st.tuples(steps, st.booleans()), min_size=20, max_size=60))
async def test_any_order_of_steps_keeps_the_books(
    pipelines: list[ScriptPipeline], drawn: dict[str, Any], plan: list[Any]
) -> None:
    def on_redis(clock: Clock) -> Parts:
        ledgers: list[Ledger] = [RedisLedger(pipeline, clock=clock) for pipeline in pipelines]
        return ledgers, RedisOutbox(pipelines[0], "me")

    assert await walk(on_redis, drawn, plan) == await walk(in_memory, drawn, plan)


@settings(max_examples=300, deadline=None)
@given(drawn=limits, plan=st.lists(st.tuples(steps, st.booleans()), min_size=20, max_size=60))
async def test_any_order_of_steps_keeps_the_twin_s_books(drawn: dict[str, Any], plan: list[Any]) -> None:
    await walk(in_memory, drawn, plan)

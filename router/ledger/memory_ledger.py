"""MemoryLedger: the twin of RedisLedger in one process, for tests and for reading what the Lua steps mean."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any

from contracts.grant import Grant
from contracts.pricing import Tokens
from contracts.topology import shard_of
from contracts.usage_event import UsageEvent, encode
from router.ledger.memory_level import MemoryLevel, Periods
from router.ledger.memory_outbox import MemoryOutbox
from router.ledger.plan import Account, Plan, counted_text, from_us, to_us
from router.ports import (
    Balance,
    Dimension,
    ExtendOutcome,
    Headroom,
    LedgerUnavailableError,
    Overdue,
    PricedAmount,
    Refused,
    Reservation,
    ReserveRequest,
    SettleOutcome,
    UnpricedError,
)


@dataclass(slots=True)
class _Record:
    reservation: Reservation
    periods: Periods
    levels: list[MemoryLevel]
    limits: list[dict[str, Any]]
    price_index: int
    amount: int
    tokens: int
    facts: str
    deadline_us: int
    counted: str = "0,0,0,0"


@dataclass(frozen=True, slots=True)
class _Reaped:
    event: UsageEvent


@dataclass(slots=True)
class MemoryLedger:
    """Steps never await inside, so each is atomic. `clock` gives microseconds since the epoch."""

    outbox: MemoryOutbox = field(default_factory=MemoryOutbox)
    lease_seconds: float = 10.0
    on_settled: Callable[[int], None] = lambda shard: None
    clock: Callable[[], int] = lambda: time.time_ns() // 1000
    _levels: dict[tuple[str, str, str], MemoryLevel] = field(default_factory=dict)
    _open: dict[str, _Record] = field(default_factory=dict)
    _done: dict[str, str | _Reaped] = field(default_factory=dict)

    async def reserve(self, request: ReserveRequest) -> Reservation | Refused:
        if request.call_id in self._done:
            raise LedgerUnavailableError("the call ended before its reservation arrived")
        if (known := self._open.get(request.call_id)) is not None:
            return replace(
                known.reservation,
                reserved_nano_usd=known.amount,
                reserved_tokens=known.tokens,
                headroom=Headroom(),
            )
        now_us = self.clock()
        index = _price_in_force(request, now_us)
        amount = request.amounts[index].amount_nano_usd
        plan, periods = Plan.of(request.grant, request.model_id), Periods.at(now_us)
        plan.amounts(request.amounts)
        limits, levels = json.loads(plan.limits), self._levels_of(Account.of(request.grant))
        refusals = [
            refused
            for level, its in zip(levels, limits, strict=True)
            for refused in level.refusals(its, periods, amount, request.tokens, now_us)
        ]
        if refusals:
            return max(refusals, key=_how_long)
        for level, its in zip(levels, limits, strict=True):
            is_new_day = periods.day not in level.held
            level.change(periods, held=amount, spent=0, slots=1)
            level.take(its, Dimension.REQUESTS, 1, now_us)
            level.take(its, Dimension.TOKENS, request.tokens, now_us)
            if is_new_day:
                level.prune(now_us)
        reservation = _reservation(request, now_us, index, _headroom(levels, limits))
        self._open[request.call_id] = _Record(
            reservation,
            periods,
            levels,
            limits,
            index,
            amount,
            request.tokens,
            plan.facts(request.seed),
            self._due(now_us),
        )
        return reservation

    async def extend(
        self, reservation: Reservation, counted: Tokens, more_nano_usd: int = 0, more_tokens: int = 0
    ) -> ExtendOutcome:
        if reservation.call_id in self._done:
            return ExtendOutcome.GONE
        now_us = self.clock()
        record = self._open.get(reservation.call_id) or self._restore(reservation, now_us)
        record.deadline_us, record.counted = self._due(now_us), counted_text(counted)
        for level, limits in zip(record.levels, record.limits, strict=True):
            for period, limit in limits.get("spend", ()):
                if more_nano_usd and level.held[getattr(record.periods, period)] + more_nano_usd > limit:
                    return ExtendOutcome.REFUSED
        for level, limits in zip(record.levels, record.limits, strict=True):
            level.change(record.periods, held=more_nano_usd, spent=0, slots=0)
            if more_tokens:
                level.take(limits, Dimension.TOKENS, more_tokens, now_us)
        record.amount += more_nano_usd
        record.tokens += more_tokens
        return ExtendOutcome.EXTENDED

    async def settle(self, reservation: Reservation, event: UsageEvent) -> SettleOutcome:
        return await self.replay(event)

    async def replay(self, event: UsageEvent) -> SettleOutcome:
        """Settle from the event alone, as the spool does."""
        call_id, cost = event.event_id, event.cost_nano_usd
        done = self._done.get(call_id)
        if done == "settled":
            return SettleOutcome.ALREADY
        self._done[call_id] = "settled"
        if (record := self._open.get(call_id)) is not None:
            self._end(record, cost, event.tokens.total)
            self._append(event)
            return SettleOutcome.SETTLED
        before = done.event if isinstance(done, _Reaped) else None
        charged = before.cost_nano_usd if before is not None else 0
        periods = Periods.at(to_us(event.occurred_at))
        for level in self._levels_of(Account.of(event)):
            level.change(periods, held=cost - charged, spent=cost - charged, slots=0)
        self._append(event, before)
        return SettleOutcome.UNKNOWN if before is None else SettleOutcome.CORRECTED

    async def release(self, call_id: str, grant: Grant) -> None:
        self._done.setdefault(call_id, "released")
        if (record := self._open.get(call_id)) is not None:
            self._end(record, 0, 0)

    async def overdue(self, shard: int, limit: int) -> list[Overdue]:
        now_us = self.clock()
        due = [
            record
            for record in self._open.values()
            if record.deadline_us <= now_us and shard_of(record.reservation.grant.organization_id) == shard
        ]
        due.sort(key=lambda record: (record.deadline_us, record.reservation.call_id))
        return [_overdue(shard, record) for record in due[:limit]]

    async def reap(self, overdue: Overdue, event: UsageEvent) -> bool:
        record = self._open.get(overdue.call_id)
        if record is None or record.deadline_us > self.clock() or record.counted != overdue.record["counted"]:
            return False
        self._end(record, event.cost_nano_usd, event.tokens.total)
        self._done[overdue.call_id] = _Reaped(event)
        self._append(event)
        return True

    async def balances(self, grant: Grant) -> list[Balance]:
        return [
            Balance(level.kind, level.id, dict(level.spent), dict(level.held), level.slots)
            for level in self._levels_of(Account.of(grant))
        ]

    def _restore(self, reservation: Reservation, now_us: int) -> _Record:
        """Put back a call that the ledger lost; its router still holds it, so no limit is asked again."""
        plan, periods = (
            Plan.of(reservation.grant, reservation.model_id),
            Periods.at(to_us(reservation.occurred_at)),
        )
        amount, tokens = reservation.reserved_nano_usd, reservation.reserved_tokens
        plan.amounts((PricedAmount(reservation.price, amount),))
        levels, facts = self._levels_of(Account.of(reservation.grant)), plan.facts(reservation.seed)
        for level in levels:
            level.change(periods, held=amount, spent=0, slots=1)
        record = _Record(
            reservation, periods, levels, json.loads(plan.limits), 0, amount, tokens, facts, self._due(now_us)
        )
        self._open[reservation.call_id] = record
        return record

    def _levels_of(self, account: Account) -> list[MemoryLevel]:
        found = []
        for kind, level_id in account.level_ids():
            key = (account.organization_id, kind.value, level_id)
            found.append(self._levels.setdefault(key, MemoryLevel(kind, level_id)))
        return found

    def _end(self, record: _Record, cost: int, tokens: int) -> None:
        now_us = self.clock()
        for level, limits in zip(record.levels, record.limits, strict=True):
            level.change(record.periods, held=cost - record.amount, spent=cost, slots=-1)
            if tokens != record.tokens:
                level.take(limits, Dimension.TOKENS, tokens - record.tokens, now_us)
        del self._open[record.reservation.call_id]

    def _append(self, event: UsageEvent, before: UsageEvent | None = None) -> None:
        shard = shard_of(event.organization_id)
        self.outbox.append(shard, encode(event), None if before is None else encode(before))
        self.on_settled(shard)

    def _due(self, now_us: int) -> int:
        return now_us + int(self.lease_seconds * 1_000_000)


def _price_in_force(request: ReserveRequest, now_us: int) -> int:
    in_force = [i for i, amount in enumerate(request.amounts) if to_us(amount.price.effective_from) <= now_us]
    if not in_force:
        raise UnpricedError(f"no price of {request.model_id} is in force")
    return in_force[-1]


def _how_long(refused: Refused) -> float:
    """The refusal that holds longest is told, so that "retry after" is true; among equals the widest level's."""
    if not refused.possible:
        return math.inf
    return 1e300 if refused.retry_after_ms is None else refused.retry_after_ms


def _headroom(levels: list[MemoryLevel], limits: list[dict[str, Any]]) -> Headroom:
    tightest: list[int | None] = []
    for dimension in (Dimension.REQUESTS, Dimension.TOKENS):
        rooms = [room for level, its in zip(levels, limits, strict=True) for room in level.room(its, dimension)]
        tightest += [*min(rooms, key=itemgetter(1))] if rooms else [None, None, None]
    return Headroom(*tightest)


def _reservation(request: ReserveRequest, now_us: int, index: int, headroom: Headroom) -> Reservation:
    return Reservation(
        call_id=request.call_id,
        grant=request.grant,
        model_id=request.model_id,
        occurred_at=from_us(now_us),
        price=request.amounts[index].price,
        reserved_nano_usd=request.amounts[index].amount_nano_usd,
        reserved_tokens=request.tokens,
        headroom=headroom,
        seed=request.seed,
    )


def _overdue(shard: int, record: _Record) -> Overdue:
    fields = {
        "at": str(to_us(record.reservation.occurred_at)),
        "price": str(record.price_index),
        "counted": record.counted,
        "facts": record.facts,
    }
    return Overdue(record.reservation.call_id, shard, fields)

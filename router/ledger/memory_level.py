"""One level's counters in memory: what router/ledger/lua/levels.lua and reserve.lua keep in a hash."""

from __future__ import annotations

import calendar
import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

from contracts.grant import LevelKind
from router.ledger.plan import from_us, periods_at
from router.ports import Dimension, Refused

DAY_US: Final = 86_400_000_000
KEEP_DAYS: Final = 3
KEEP_MONTH_DAYS: Final = 62
UNIT: Final = 60_000_000
"""A bucket counts 1/UNIT tokens, so that it falls by `limit` whole units per microsecond."""
CONCURRENCY_RETRY_MS: Final = 1000


@dataclass(frozen=True, slots=True)
class Periods:
    """The names of the three periods that contain one moment (UTC)."""

    day: str
    month: str
    none: str = "all"

    @classmethod
    def at(cls, at_us: int) -> Periods:
        return cls(*periods_at(at_us))

    def names(self) -> tuple[str, str, str]:
        return (self.day, self.month, self.none)


def until_reset_ms(period: str, now_us: int) -> int | None:
    if period == "none":
        return None
    days = 1
    if period == "month":
        now = from_us(now_us)
        days = calendar.monthrange(now.year, now.month)[1] - now.day + 1
    return math.ceil((days * DAY_US - now_us % DAY_US) / 1000)


@dataclass(slots=True)
class Bucket:
    """A token bucket that counts what was used: falls with time to 0, is full at the limit, may owe beyond it."""

    used: int = 0
    at_us: int | None = None

    def drained(self, limit: int, now_us: int) -> int:
        elapsed_us = 0 if self.at_us is None else max(0, now_us - self.at_us)
        return max(0, self.used - elapsed_us * limit)

    def add(self, tokens: int, limit: int, now_us: int) -> None:
        self.used = max(0, self.drained(limit, now_us) + tokens * UNIT)
        self.at_us = now_us


@dataclass(slots=True)
class MemoryLevel:
    """Money spent, money held (spent plus reserved), token buckets and calls in flight of one level."""

    kind: LevelKind
    id: str
    spent: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    held: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    slots: int = 0
    buckets: dict[str, Bucket] = field(default_factory=lambda: defaultdict(Bucket))

    def refusals(
        self, limits: dict[str, Any], periods: Periods, amount: int, tokens: int, now_us: int
    ) -> list[Refused]:
        """What every limit that has no room says."""
        found = []
        for period, limit in limits.get("spend", ()):
            left = limit - self.held.get(getattr(periods, period), 0)
            if amount > left:
                found.append(self._refused(Dimension.SPEND, limit, left, amount, until_reset_ms(period, now_us)))
        for dimension, need in ((Dimension.REQUESTS, 1), (Dimension.TOKENS, tokens)):
            for name, _, limit in limits.get(dimension.value, ()):
                free = limit * UNIT - self.buckets[name].drained(limit, now_us)
                if need * UNIT > free:
                    retry_ms = math.ceil((need * UNIT - free) / limit / 1000) if limit else None
                    found.append(self._refused(dimension, limit, free // UNIT, need, retry_ms))
        slots = limits.get("slots")
        if slots is not None and self.slots >= slots:
            left = slots - self.slots
            found.append(self._refused(Dimension.CONCURRENCY, slots, left, 1, CONCURRENCY_RETRY_MS))
        return found

    def change(self, periods: Periods, *, held: int, spent: int, slots: int) -> None:
        for name in periods.names():
            self.held[name] += held
            if spent:
                self.spent[name] += spent
        self.slots = max(0, self.slots + slots)

    def take(self, limits: dict[str, Any], dimension: Dimension, need: int, now_us: int) -> None:
        for name, _, limit in limits.get(dimension.value, ()):
            self.buckets[name].add(need, limit, now_us)

    def room(self, limits: dict[str, Any], dimension: Dimension) -> list[tuple[int, int, int]]:
        """(limit, remaining, milliseconds until full) of each bucket, right after `take`."""
        return [
            (limit, (limit * UNIT - self.buckets[name].used) // UNIT, self._reset_ms(name, limit))
            for name, _, limit in limits.get(dimension.value, ())
        ]

    def prune(self, now_us: int) -> None:
        """Forget the periods that no open call and no late settlement of a reaped one can need any more."""
        oldest_day, _ = periods_at(now_us - KEEP_DAYS * DAY_US)
        _, oldest_month = periods_at(now_us - KEEP_MONTH_DAYS * DAY_US)
        oldest = {"d": oldest_day, "m": oldest_month}
        for name, held in list(self.held.items()):
            if name != "all" and name < oldest[name[0]] and held == self.spent.get(name, 0):
                del self.held[name]
                self.spent.pop(name, None)

    def _reset_ms(self, name: str, limit: int) -> int:
        return math.ceil(self.buckets[name].used / limit / 1000) if limit else 0

    def _refused(
        self, dimension: Dimension, limit: int, remaining: int, requested: int, retry_ms: int | None
    ) -> Refused:
        possible = requested <= limit
        return Refused(
            level=self.kind,
            level_id=self.id,
            dimension=dimension,
            limit=limit,
            remaining=remaining,
            requested=requested,
            retry_after_ms=retry_ms if possible else None,
            possible=possible,
        )

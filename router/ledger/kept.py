"""Settlements that a crash of Redis could still undo, kept in memory to be replayed."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from contracts.usage_event import UsageEvent

KEEP_SECONDS: Final = 5.0
"""The append-only file reaches the disk once a second, under load every two."""
MOST_KEPT: Final = 20_000


@dataclass(slots=True)
class KeptSettlements:
    """Kept for `keep_seconds`; with `until_drained` also until `emptied` says that their outbox was drained.

    `forgotten_total` counts those that had to make room while a broker was away for long."""

    until_drained: bool = False
    keep_seconds: float = KEEP_SECONDS
    most: int = MOST_KEPT
    clock: Callable[[], float] = time.monotonic
    forgotten_total: int = field(default=0, init=False)
    _by_shard: dict[int, deque[tuple[float, UsageEvent]]] = field(default_factory=dict, init=False)
    _count: int = field(default=0, init=False)

    def add(self, shard: int, event: UsageEvent) -> None:
        kept = self._by_shard.get(shard)
        if kept is None:
            kept = self._by_shard[shard] = deque()
        now = self.clock()
        kept.append((now, event))
        self._count += 1
        if not self.until_drained:
            self._forget(kept, now - self.keep_seconds)
        elif self._count > self.most:
            kept.popleft()
            self._count -= 1
            self.forgotten_total += 1

    def emptied(self, shard: int, at: float) -> None:
        """Everything that was settled in the shard before `at` is safe elsewhere."""
        kept = self._by_shard.get(shard)
        if kept is not None:
            self._forget(kept, min(at, self.clock() - self.keep_seconds))

    def of_shard(self, shard: int) -> list[UsageEvent]:
        return [event for _, event in self._by_shard.get(shard, ())]

    def shards(self) -> list[int]:
        return [shard for shard, kept in self._by_shard.items() if kept]

    def _forget(self, kept: deque[tuple[float, UsageEvent]], before: float) -> None:
        while kept and kept[0][0] < before:
            kept.popleft()
            self._count -= 1

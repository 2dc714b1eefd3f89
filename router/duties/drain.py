"""The duty that empties the outbox: shards that this replica filled at once, all shards now and then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from contracts.topology import SHARD_COUNT
from router.ports import Broker, BrokerUnavailableError, LedgerUnavailableError, Outbox
from router.publish import publish

EVENTS_PER_SHARD = 250
FIRST_BACKOFF_SECONDS = 0.25
LAST_BACKOFF_SECONDS = 5.0


@dataclass(slots=True)
class DirtyShards:
    """The shards that this replica appended to since it last drained them; the ledger's `on_settled` is `mark`."""

    _shards: set[int] = field(default_factory=set)
    _marked: asyncio.Event = field(default_factory=asyncio.Event)

    def mark(self, shard: int) -> None:
        self._shards.add(shard)
        self._marked.set()

    async def wait(self, timeout_seconds: float) -> bool:
        """Whether a shard was marked before the time was over."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._marked.wait()
        except TimeoutError:
            return False
        return True

    def take(self) -> set[int]:
        shards, self._shards = self._shards, set()
        self._marked.clear()
        return shards


@dataclass(slots=True)
class Drain:
    """Waits `batch_seconds` after the first event so that one message carries many, and visits all shards every
    `sweep_seconds` for what other replicas left behind."""

    outbox: Outbox
    broker: Broker
    dirty: DirtyShards
    batch_seconds: float = 0.1
    sweep_seconds: float = 1.5
    on_emptied: Callable[[int, float], None] = lambda shard, at: None
    """Told that a shard's outbox was found empty: what was settled there before `at` (time.monotonic) is safe."""
    published_total: int = field(default=0, init=False)
    is_backing_off: bool = field(default=False, init=False)

    async def run(self) -> None:
        sweep_at, backoff_seconds = 0.0, FIRST_BACKOFF_SECONDS
        clock = asyncio.get_running_loop().time
        while True:
            if await self.dirty.wait(max(0.0, sweep_at - clock())):
                await asyncio.sleep(self.batch_seconds)
            shards = self.dirty.take()
            if clock() >= sweep_at:
                shards = set(range(SHARD_COUNT))
                sweep_at = clock() + self.sweep_seconds
            try:
                await self.empty(shards)
                self.is_backing_off, backoff_seconds = False, FIRST_BACKOFF_SECONDS
            except (BrokerUnavailableError, LedgerUnavailableError):
                self.is_backing_off = True
                await asyncio.sleep(backoff_seconds)
                backoff_seconds = min(2 * backoff_seconds, LAST_BACKOFF_SECONDS)

    async def empty(self, shards: Collection[int]) -> None:
        """Publish until the shards are empty; those that a fault left are marked again."""
        waiting = frozenset(shards)
        try:
            while waiting:
                began_at = time.monotonic()
                published = await publish(self.outbox, self.broker, waiting, EVENTS_PER_SHARD)
                self.published_total += published.count
                for shard in waiting - published.unfinished:
                    self.on_emptied(shard, began_at)
                waiting = published.unfinished
        finally:
            for shard in waiting:
                self.dirty.mark(shard)

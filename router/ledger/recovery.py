"""What happens when Redis lost an organization's counters: they are rebuilt from analytics before anybody spends.

An organization's epoch is a key beside its counters; without it every step answers "lost" and changes nothing. The
first router that meets this

1. puts its own settlements that may be lost back into the outbox, uncharged: analytics counts each once;
2. waits `quiet_seconds` from the moment of the loss, for the other routers to do the same, and until outbox and
   queue are empty, so that analytics has seen everything;
3. writes what analytics recorded into the counters and, last, a new epoch.

Until then calls are denied. Open calls come back by themselves: their next heartbeat restores them.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from contracts.grant import LevelKind, Period
from contracts.spend import LevelSpend, SpendReport
from contracts.topology import outbox_stream, shard_of, shard_tag
from contracts.usage_event import encode
from router.ledger.kept import KeptSettlements
from router.ledger.pipeline import ScriptPipeline
from router.ledger.plan import done_key, epoch_key, from_us, level_key, periods_at
from router.ports import HistoryUnavailableError, LedgerUnavailableError, SpendHistory

QUIET_SECONDS: Final = 5.0
ASK_AGAIN_SECONDS: Final = 0.25
LEVELS_PER_CALL: Final = 500


async def always_empty() -> bool:
    return True


@dataclass(slots=True)
class Recovery:
    """`history` None trusts an organization without counters as a new one: there is nobody to ask."""

    pipeline: ScriptPipeline
    kept: KeptSettlements
    history: SpendHistory | None = None
    is_queue_empty: Callable[[], Awaitable[bool]] = always_empty
    quiet_seconds: float = QUIET_SECONDS
    remember_seconds: int = 2 * 24 * 3600
    rebuilt_total: int = field(default=0, init=False)
    _running: dict[str, asyncio.Task[None]] = field(default_factory=dict, init=False)
    _returned: set[str] = field(default_factory=set, init=False)

    async def recover(self, organization_id: str) -> None:
        """Returns once the organization's counters can be trusted; raises LedgerUnavailableError until then."""
        running = self._running.get(organization_id)
        if running is None:
            running = self._running[organization_id] = asyncio.create_task(self._recover(organization_id))
            running.add_done_callback(lambda task: self._ended(organization_id, task))
        await asyncio.shield(running)

    def _ended(self, organization_id: str, task: asyncio.Task[None]) -> None:
        """A failure is told to all who ask within the next moment: analytics is not asked once per call."""
        if task.cancelled() or task.exception() is None:
            self._running.pop(organization_id, None)
        else:
            loop = asyncio.get_running_loop()
            loop.call_later(ASK_AGAIN_SECONDS, self._running.pop, organization_id, None)

    async def _recover(self, organization_id: str) -> None:
        shard = shard_of(organization_id)
        if self.history is None:
            await self.pipeline.command(shard, "SET", epoch_key(shard, organization_id), uuid.uuid4().hex, "NX")
            return
        if await self.pipeline.command(shard, "EXISTS", epoch_key(shard, organization_id)):
            return  # another router was faster
        now_us = await self._now_us(shard)
        report = await self._ask(self.history, organization_id, now_us)
        if report.levels or self._kept_of(organization_id):
            await self._return_kept(shard, organization_id)
            await self._until_quiet(shard)
            report = await self._ask(self.history, organization_id, now_us)
        await self._rebuild(shard, report, now_us)
        self.rebuilt_total += bool(report.levels)

    async def _ask(self, history: SpendHistory, organization_id: str, at_us: int) -> SpendReport:
        try:
            return await history.spent(organization_id, from_us(at_us))
        except HistoryUnavailableError as error:
            raise LedgerUnavailableError(f"counters are lost and analytics does not answer: {error}") from error

    def _kept_of(self, organization_id: str) -> bool:
        kept = self.kept.of_shard(shard_of(organization_id))
        return any(event.organization_id == organization_id for event in kept)

    async def _return_kept(self, shard: int, organization_id: str) -> None:
        """Once per loss. The marker makes a later settlement of the same call a no-op: analytics has its event."""
        lost_at = await self._lost_at_us(shard)
        for event in self.kept.of_shard(shard):
            key = f"{lost_at}:{event.event_id}"
            if event.organization_id == organization_id and key not in self._returned:
                marker = done_key(shard, event.event_id)
                await self.pipeline.command(shard, "SET", marker, "settled", "EX", self.remember_seconds)
                await self.pipeline.command(shard, "XADD", outbox_stream(shard), "*", "event", encode(event))
                self._returned.add(key)

    async def _until_quiet(self, shard: int) -> None:
        lost_at_us = await self._lost_at_us(shard)
        if await self._now_us(shard) - lost_at_us < self.quiet_seconds * 1_000_000:
            raise LedgerUnavailableError("counters are lost; other routers may still hold settlements")
        if await self.pipeline.command(shard, "XLEN", outbox_stream(shard)) or not await self.is_queue_empty():
            raise LedgerUnavailableError("counters are lost; usage events are still on their way")

    async def _rebuild(self, shard: int, report: SpendReport, now_us: int) -> None:
        organization_id, epoch = report.organization_id, uuid.uuid4().hex
        of_levels = list(report.levels) or [_nothing(organization_id)]
        for start in range(0, len(of_levels), LEVELS_PER_CALL):
            levels = of_levels[start : start + LEVELS_PER_CALL]
            is_last = start + LEVELS_PER_CALL >= len(of_levels)
            keys = [level_key(shard, organization_id, level.level, level.id) for level in levels]
            spent = [level.in_period(period) for level in levels for period in Period]
            await self.pipeline.call(
                shard,
                self.pipeline.scripts.rebuild,
                [epoch_key(shard, organization_id), *keys],
                [epoch if is_last else "", *periods_at(now_us), *spent],
            )

    async def _lost_at_us(self, shard: int) -> int:
        """When the first router met the loss, by the ledger's clock; forgotten after a day."""
        key = f"tern:{shard_tag(shard)}:lost_at"
        await self.pipeline.command(shard, "SET", key, await self._now_us(shard), "NX", "EX", 24 * 3600)
        return int(await self.pipeline.command(shard, "GET", key))

    async def _now_us(self, shard: int) -> int:
        seconds, microseconds = await self.pipeline.command(shard, "TIME")
        return int(seconds) * 1_000_000 + int(microseconds)


def _nothing(organization_id: str) -> LevelSpend:
    return LevelSpend(
        level=LevelKind.ORGANIZATION, id=organization_id, day_nano_usd=0, month_nano_usd=0, ever_nano_usd=0
    )

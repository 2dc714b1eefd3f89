"""Duty: carry committed changes from the outbox table to the change feed, in order, and sound a heartbeat.

Any replica may do it: an advisory lock lets one at a time look. A crash between the append and the commit
repeats changes, which is harmless, because a change only says what to ask for again. The heartbeat is sounded
after the outbox was seen empty: a router that hears it has heard everything before it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import RedisClusterException, RedisError
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.change import Change, ChangeKind
from contracts.log_line import say
from contracts.topology import CHANGE_FEED, CHANGE_FIELD, CHANGE_HEARTBEAT_SECONDS
from org_service.db import Database
from org_service.errors import UnavailableError
from org_service.metrics import Metrics
from org_service.outbox import CHANNEL
from org_service.parts import RedisClient
from org_service.tables import OutboxEntry

log = logging.getLogger(__name__)

_ADVISORY_LOCK: Final = 0x7465726E
_BATCH: Final = 500
_HEARTBEAT_GUARD: Final = f"{CHANGE_FEED}:heartbeat"
_RETRY_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Relay:
    database: Database
    redis: RedisClient
    metrics: Metrics
    poll_seconds: float
    feed_entries: int
    timeout_seconds: float

    async def run(self) -> None:
        """Until cancelled. PostgreSQL or Redis away: try again; the changes wait in the table."""
        while True:
            try:
                async with self._wake_ups() as woken:
                    while True:
                        await self.relay()
                        await self._heartbeat()
                        await self._wait(woken)
            except (UnavailableError, RedisError, RedisClusterException, OSError) as error:
                self.metrics.relay_failures.inc()
                say(log, logging.WARNING, "relay_failed", error=type(error).__name__)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _wait(self, woken: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.poll_seconds):
                await woken.wait()
        woken.clear()

    async def relay(self) -> int:
        """Everything that is committed now; returns how many changes left."""
        moved = 0
        while True:
            async with self.database.transaction() as session:
                batch = await _take(session)
                await self._append(batch)
            moved += len(batch)
            self.metrics.relayed_changes.inc(len(batch))
            if len(batch) < _BATCH:
                return moved

    async def _append(self, changes: Sequence[dict[str, Any]]) -> None:
        if not changes:
            return
        async with asyncio.timeout(self.timeout_seconds), self.redis.pipeline(transaction=False) as pipe:
            for change in changes:
                self._add(pipe, change)
            await pipe.execute()

    async def _heartbeat(self) -> None:
        """At most one each interval, whichever replica comes first."""
        guard_ms = int(CHANGE_HEARTBEAT_SECONDS * 1000) - 50
        async with asyncio.timeout(self.timeout_seconds):
            if await self.redis.set(_HEARTBEAT_GUARD, "1", nx=True, px=guard_ms):
                heartbeat = Change(kind=ChangeKind.HEARTBEAT).model_dump(mode="json")
                await self._add(self.redis, heartbeat)

    def _add(self, target: Any, change: dict[str, Any]) -> Any:
        fields = {CHANGE_FIELD: json.dumps(change, separators=(",", ":"))}
        return target.xadd(CHANGE_FEED, fields, maxlen=self.feed_entries, approximate=True)

    @contextlib.asynccontextmanager
    async def _wake_ups(self) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever a transaction with changes commits."""
        woken = asyncio.Event()
        async with self.database.listening(CHANNEL, woken.set):
            yield woken


async def _take(session: AsyncSession) -> list[dict[str, Any]]:
    """Up to a batch of changes, deleted once the surrounding transaction commits."""
    await session.execute(select(func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
    query = select(OutboxEntry).order_by(OutboxEntry.id).limit(_BATCH)
    rows = list((await session.execute(query)).scalars())
    if rows:
        await session.execute(delete(OutboxEntry).where(OutboxEntry.id.in_([row.id for row in rows])))
    return [row.change for row in rows]

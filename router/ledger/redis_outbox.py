"""RedisOutbox: the streams that `settle` and `reap` append to, shared by all replicas through a consumer group."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any, Final

from contracts.topology import OUTBOX_BEFORE_FIELD, OUTBOX_EVENT_FIELD, OUTBOX_GROUP, outbox_stream
from router.ledger.outbox_entry import leaving
from router.ledger.pipeline import RedisRefusedError, ScriptPipeline
from router.ports import OutboxEntry

CLAIM_AFTER_SECONDS: Final = 15.0
FORGET_CONSUMER_AFTER_SECONDS: Final = 3600.0


class RedisOutbox:
    """`consumer` names this process and must differ between replicas. What a consumer read and did not remove for
    `claim_after_seconds` is taken over by another: it may then leave twice, and is counted once at the end."""

    def __init__(
        self, pipeline: ScriptPipeline, consumer: str, *, claim_after_seconds: float = CLAIM_AFTER_SECONDS
    ) -> None:
        self._pipeline = pipeline
        self._consumer = consumer
        self._claim_after_seconds = claim_after_seconds
        self._unremoved: set[int] = set()
        self._claimed_at: dict[int, float] = {}

    async def read(self, shard: int, limit: int) -> list[OutboxEntry]:
        entries = []
        if shard in self._unremoved:
            entries = await self._read_from(shard, "0", limit)
        if len(entries) < limit and self._is_claim_due(shard):
            entries += await self._claim(shard, limit - len(entries))
        if len(entries) < limit:
            entries += await self._read_from(shard, ">", limit - len(entries))
        if entries:
            self._unremoved.add(shard)
        return entries

    async def remove(self, shard: int, entry_ids: list[str]) -> None:
        """Both commands leave in one write, the deletion first: a crash between the two leaves an acknowledgement
        to repeat, not an entry that nobody would ever read again."""
        stream = outbox_stream(shard)
        await asyncio.gather(
            self._pipeline.command(shard, "XDEL", stream, *entry_ids),
            self._pipeline.command(shard, "XACK", stream, OUTBOX_GROUP, *entry_ids),
        )
        self._unremoved.discard(shard)

    async def _read_from(self, shard: int, start: str, limit: int) -> list[OutboxEntry]:
        stream = outbox_stream(shard)
        reply = await self._grouped(
            shard, "XREADGROUP", "GROUP", OUTBOX_GROUP, self._consumer, "COUNT", limit, "STREAMS", stream, start
        )
        return _entries(reply[0][1]) if reply else []

    def _is_claim_due(self, shard: int) -> bool:
        now = time.monotonic()
        if now - self._claimed_at.get(shard, -self._claim_after_seconds) < self._claim_after_seconds:
            return False
        self._claimed_at[shard] = now
        return True

    async def _claim(self, shard: int, limit: int) -> list[OutboxEntry]:
        stream, idle_ms = outbox_stream(shard), round(self._claim_after_seconds * 1000)
        reply = await self._grouped(
            shard, "XAUTOCLAIM", stream, OUTBOX_GROUP, self._consumer, idle_ms, "0-0", "COUNT", limit
        )
        await self._forget_dead_consumers(shard)
        return _entries(reply[1])

    async def _forget_dead_consumers(self, shard: int) -> None:
        """Every process is a consumer of its own; one with nothing pending that has not read for long is gone."""
        stream = outbox_stream(shard)
        for flat in await self._pipeline.command(shard, "XINFO", "CONSUMERS", stream, OUTBOX_GROUP):
            consumer = dict(zip(flat[::2], flat[1::2], strict=True))
            if consumer[b"pending"] == 0 and consumer[b"idle"] > FORGET_CONSUMER_AFTER_SECONDS * 1000:
                await self._pipeline.command(
                    shard, "XGROUP", "DELCONSUMER", stream, OUTBOX_GROUP, consumer[b"name"]
                )

    async def _grouped(self, shard: int, *command: str | int) -> Any:
        """A command that needs the consumer group, which is made where it is missing."""
        try:
            return await self._pipeline.command(shard, *command)
        except RedisRefusedError as error:
            if error.code != "NOGROUP":
                raise
        await self._create_group(shard)
        return await self._pipeline.command(shard, *command)

    async def _create_group(self, shard: int) -> None:
        stream = outbox_stream(shard)
        try:
            await self._pipeline.command(shard, "XGROUP", "CREATE", stream, OUTBOX_GROUP, "0", "MKSTREAM")
        except RedisRefusedError as error:
            if error.code != "BUSYGROUP":
                raise


def _entries(raw: Iterable[Any]) -> list[OutboxEntry]:
    """Entries that were deleted under a pending id come without fields and are left out."""
    found = []
    for entry_id, flat in raw:
        if flat:
            fields = dict(zip(flat[::2], flat[1::2], strict=True))
            event, before = fields[OUTBOX_EVENT_FIELD.encode()], fields.get(OUTBOX_BEFORE_FIELD.encode())
            found.append(OutboxEntry(entry_id.decode(), leaving(event, before)))
    return found

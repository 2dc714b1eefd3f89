"""Deliveries straight from the router's outbox, where there is no broker: one stream entry is one delivery.

The streams of all shards are read in one call, which a Redis Cluster would refuse (they lie in many slots): with
a cluster there is a broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any, Final, cast

import redis.asyncio
from redis.exceptions import RedisError, ResponseError

from analytics.deliveries import DeadLetter, Delivery, decode_entry
from analytics.errors import SourceUnavailableError
from contracts import topology

NEW: Final = ">"
MINE: Final = "0"
CLAIM_COUNT: Final = 100
REASON_LENGTH: Final = 1000


class OutboxSource:
    """A consumer in the outbox's group. `name` must be its own: readers of one name share what is pending."""

    def __init__(self, url: str, claim_after_seconds: float, name: str | None = None) -> None:
        self._url = url
        self._claim_after_ms = round(claim_after_seconds * 1000)
        self._name = name or f"analytics-{socket.gethostname()}-{os.getpid()}"
        self._redis: redis.asyncio.Redis | None = None
        self._shards = {topology.outbox_stream(shard).encode(): shard for shard in range(topology.SHARD_COUNT)}
        self._read_mine = True
        self._claim_at = 0.0

    async def open(self) -> None:
        await self.close()
        with _translated():
            self._redis = redis.asyncio.Redis.from_url(self._url, socket_connect_timeout=5)
            for stream in self._shards:
                await _create_group(self._redis, stream)
        self._read_mine = True

    async def close(self) -> None:
        client, self._redis = self._redis, None
        if client is not None:
            with contextlib.suppress(SourceUnavailableError), _translated():
                await client.aclose()

    async def take(self, limit_events: int, wait_seconds: float) -> list[Delivery]:
        """First what this consumer took before it was opened, then what others left behind, then what is new."""
        with _translated():
            if self._read_mine:
                if mine := await self._read(MINE, limit_events, None):
                    return mine
                self._read_mine = False
            if left_behind := await self._claim():
                return left_behind
            return await self._read(NEW, limit_events, max(1, round(wait_seconds * 1000)))

    async def _read(self, position: str, limit: int, block_ms: int | None) -> list[Delivery]:
        """COUNT holds for each stream, so that one call may bring a multiple of it; shards are seldom all busy."""
        streams = cast(Any, dict.fromkeys(self._shards, position))
        per_stream = max(1, limit // topology.SHARD_COUNT) if position == MINE else limit
        replies: Any = await self._client().xreadgroup(
            topology.OUTBOX_GROUP, self._name, streams, count=per_stream, block=block_ms
        )
        return [
            delivery
            for stream, entries in _pairs(replies)
            for delivery in self._deliveries(self._shards[stream], entries)
        ]

    async def _claim(self) -> list[Delivery]:
        """Entries that another reader took and did not acknowledge in time; looked for once per such time."""
        now = asyncio.get_running_loop().time()
        if now < self._claim_at:
            return []
        claimed: list[Delivery] = []
        for stream, shard in self._shards.items():
            claimed += self._deliveries(shard, await self._claim_from(stream))
        if not claimed:
            self._claim_at = now + self._claim_after_ms / 1000
        return claimed

    async def _claim_from(self, stream: bytes) -> list[Any]:
        reply: Any = await self._client().xautoclaim(
            stream, topology.OUTBOX_GROUP, self._name, self._claim_after_ms, count=CLAIM_COUNT
        )
        return list(reply[1])

    def _deliveries(self, shard: int, entries: list[Any]) -> list[Delivery]:
        return [_delivery(shard, entry_id, fields) for entry_id, fields in entries if fields is not None]

    async def bury(self, letters: list[DeadLetter]) -> None:
        with _translated():
            for letter in letters:
                shard, entry_id = letter.receipt
                fields: Any = {"event": letter.raw, "reason": letter.reason[:REASON_LENGTH], "entry": entry_id}
                await self._client().xadd(topology.dead_letter_stream(shard), fields)

    async def done(self, deliveries: list[Delivery]) -> None:
        by_shard: dict[int, list[bytes]] = {}
        for delivery in deliveries:
            shard, entry_id = delivery.receipt
            by_shard.setdefault(shard, []).append(entry_id)
        with _translated():
            async with self._client().pipeline(transaction=False) as pipeline:
                for shard, entry_ids in by_shard.items():
                    stream = topology.outbox_stream(shard)
                    pipeline.xack(stream, topology.OUTBOX_GROUP, *entry_ids)
                    pipeline.xdel(stream, *entry_ids)
                await pipeline.execute()

    def _client(self) -> redis.asyncio.Redis:
        if self._redis is None:
            raise SourceUnavailableError("not open")
        return self._redis


def _delivery(shard: int, entry_id: bytes, fields: dict[bytes, bytes]) -> Delivery:
    event = fields.get(topology.OUTBOX_EVENT_FIELD.encode())
    before = fields.get(topology.OUTBOX_BEFORE_FIELD.encode())
    return Delivery((shard, entry_id), (decode_entry(event, before),))


def _pairs(replies: Any) -> list[tuple[bytes, list[Any]]]:
    """RESP2 gives a list of [stream, entries], RESP3 a map with the entries one list deeper."""
    if isinstance(replies, dict):
        return [(stream, entries[0]) for stream, entries in replies.items()]
    return [(stream, entries) for stream, entries in replies or []]


async def _create_group(client: redis.asyncio.Redis, stream: bytes) -> None:
    try:
        await client.xgroup_create(stream, topology.OUTBOX_GROUP, id="0", mkstream=True)
    except ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):
            raise


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise SourceUnavailableError(f"{type(error).__name__}: {error}") from error

"""Both ways in which events arrive, seen from the sender's end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import aio_pika
import redis.asyncio

from analytics.deliveries import Source
from analytics.outbox_source import OutboxSource
from analytics.rabbit_source import RabbitSource
from contracts import topology
from contracts.usage_event import BATCH_CONTENT_TYPE, encode_batch


class Arrival(Protocol):
    """One way in which events arrive, seen from the other end."""

    @property
    def settings(self) -> dict[str, Any]: ...

    def source(self, name: str = "one") -> Source: ...

    async def send(self, encoded: list[bytes]) -> None: ...

    async def dead(self) -> list[tuple[bytes, str]]:
        """Body and reason of each dead letter."""
        ...

    async def left(self) -> int:
        """What is still to be delivered or acknowledged."""
        ...


class RabbitArrival:
    def __init__(self, url: str, channel: aio_pika.abc.AbstractChannel) -> None:
        self._url = url
        self._channel = channel

    @property
    def settings(self) -> dict[str, Any]:
        return {"amqp_url": self._url}

    def source(self, name: str = "one") -> Source:
        return RabbitSource(self._url, prefetch=10)

    async def prepare(self) -> None:
        for queue in (topology.USAGE_QUEUE, topology.DEAD_LETTER_QUEUE):
            await self._channel.queue_delete(queue)
        for exchange in (topology.USAGE_EXCHANGE, topology.DEAD_LETTER_EXCHANGE):
            await self._channel.exchange_delete(exchange)
        source = RabbitSource(self._url, prefetch=1)
        await source.open()
        await source.close()

    async def send(self, encoded: list[bytes]) -> None:
        await self.send_body(encode_batch(encoded))

    async def send_body(self, body: bytes) -> None:
        exchange = await self._channel.get_exchange(topology.USAGE_EXCHANGE)
        message = aio_pika.Message(body, content_type=BATCH_CONTENT_TYPE)
        await exchange.publish(message, topology.USAGE_ROUTING_KEY, mandatory=True)

    async def dead(self) -> list[tuple[bytes, str]]:
        queue = await self._channel.get_queue(topology.DEAD_LETTER_QUEUE)
        letters = []
        while (message := await queue.get(fail=False)) is not None:
            await message.ack()
            letters.append((message.body, str(message.headers.get("x-tern-reason", message.headers))))
        return letters

    async def delete_usage_queue(self) -> None:
        await self._channel.queue_delete(topology.USAGE_QUEUE)

    async def delete_dead_letter_queue(self) -> None:
        await self._channel.queue_delete(topology.DEAD_LETTER_QUEUE)

    async def left(self) -> int:
        """A message that somebody holds is not counted by the broker, so nobody may hold any."""
        queue = await self._channel.declare_queue(topology.USAGE_QUEUE, passive=True)
        return queue.declaration_result.message_count or 0


class OutboxArrival:
    def __init__(self, url: str, client: redis.asyncio.Redis) -> None:
        self._url = url
        self._client = client

    @property
    def settings(self) -> dict[str, Any]:
        return {"redis_url": self._url}

    def source(self, name: str = "one") -> Source:
        return OutboxSource(self._url, claim_after_seconds=0.3, name=name)

    async def send(self, encoded: list[bytes]) -> None:
        for shard, event in enumerate(encoded):
            await self.append(shard % topology.SHARD_COUNT, {topology.OUTBOX_EVENT_FIELD: event})

    async def append(self, shard: int, fields: dict[str, bytes]) -> None:
        await self._client.xadd(topology.outbox_stream(shard), fields)

    async def dead(self) -> list[tuple[bytes, str]]:
        letters = []
        for shard in range(topology.SHARD_COUNT):
            for _, fields in await self._client.xrange(topology.dead_letter_stream(shard)):
                letters.append((fields[b"event"], fields[b"reason"].decode()))
        return letters

    async def left(self) -> int:
        lengths = [await self._client.xlen(topology.outbox_stream(n)) for n in range(topology.SHARD_COUNT)]
        return sum(lengths)


@asynccontextmanager
async def connected_rabbit(url: str, *, clean: bool = True) -> AsyncIterator[RabbitArrival]:
    """`clean` deletes the queues of an earlier test first."""
    async with await aio_pika.connect(url) as connection:
        rabbit = RabbitArrival(url, await connection.channel())
        if clean:
            await rabbit.prepare()
        yield rabbit


@asynccontextmanager
async def connected_outbox(url: str) -> AsyncIterator[OutboxArrival]:
    client = redis.asyncio.Redis.from_url(url)
    try:
        yield OutboxArrival(url, client)
    finally:
        await client.aclose()

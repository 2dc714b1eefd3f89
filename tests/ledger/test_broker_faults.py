"""RabbitMQ dies in the middle of load: events wait in the outbox; none is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress

import aio_pika
import pytest
from redis.asyncio import Redis

from contracts.topology import USAGE_QUEUE, outbox_stream, shard_of
from router.broker import AmqpBroker
from router.duties.drain import DirtyShards, Drain
from router.ledger.connection import RedisAddress
from router.ledger.pipeline import ScriptPipeline
from router.ledger.redis_ledger import RedisLedger
from router.ledger.redis_outbox import RedisOutbox
from router.ports import Reservation
from tern.stack.process import Part, free_port
from tests.ledger.calls import event, grant, request
from tests.parts.servers import folder, start_rabbitmq

OUTBOX = outbox_stream(shard_of("org_1"))
RAFT_METADATA_SECONDS = 5.0
"""A single RabbitMQ node that is killed before it wrote a new quorum queue's Raft metadata never elects a leader
for it again (rabbitmq-server issue 10070)."""


@pytest.fixture
async def pipeline(redis_client: Redis, redis_server_url: str) -> AsyncIterator[ScriptPipeline]:
    pipeline = ScriptPipeline(RedisAddress.from_url(redis_server_url))
    yield pipeline
    await pipeline.close()


async def settle_until(ledger: RedisLedger, stop: asyncio.Event) -> set[str]:
    ids = set()
    while not stop.is_set():
        reservation = await ledger.reserve(request(grant()))
        assert isinstance(reservation, Reservation)
        await ledger.settle(reservation, event(reservation))
        ids.add(reservation.call_id)
        await asyncio.sleep(0.005)
    return ids


async def received(url: str) -> list[str]:
    async with await aio_pika.connect(url) as connection:
        queue = await (await connection.channel()).get_queue(USAGE_QUEUE)
        found: list[str] = []
        while (message := await queue.get(fail=False)) is not None:
            found += [element["id"] for element in json.loads(message.body)]
            await message.ack()
        return found


@pytest.fixture
def broker_port() -> Iterator[tuple[int, Callable[[], Part]]]:
    """A port, and a function that starts a RabbitMQ with always the same data there."""
    started: list[Part] = []
    with folder("rabbitmq") as directory:
        port = free_port()

        def start() -> Part:
            started.append(start_rabbitmq(directory, port))
            return started[-1]

        yield port, start
        for part in reversed(started):
            part.stop(20)


@pytest.mark.faults
async def test_a_killed_broker_loses_no_event(
    pipeline: ScriptPipeline, redis_client: Redis, broker_port: tuple[int, Callable[[], Part]]
) -> None:
    port, start = broker_port
    dirty, stop = DirtyShards(), asyncio.Event()
    ledger = RedisLedger(pipeline, on_settled=dirty.mark)
    broker = AmqpBroker(url := f"amqp://guest:guest@127.0.0.1:{port}/")
    part = await asyncio.to_thread(start)
    await broker.publish([b'{"id": "first"}'])
    await asyncio.sleep(RAFT_METADATA_SECONDS)
    drain = Drain(RedisOutbox(pipeline, "me"), broker, dirty, batch_seconds=0.02)
    draining = asyncio.create_task(drain.run())
    load = asyncio.create_task(settle_until(ledger, stop))
    await asyncio.sleep(1)
    part.kill()
    await asyncio.sleep(1)
    await asyncio.to_thread(start)
    await asyncio.sleep(1)
    stop.set()
    ids = await load
    async with asyncio.timeout(30):
        while not draining.done() and await redis_client.xlen(OUTBOX):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    draining.cancel()
    with suppress(asyncio.CancelledError):
        await draining
    await broker.close()
    found = await received(url)
    print(f"settled {len(ids)}, received {len(found)}, of which again {len(found) - len(set(found))}")  # noqa: T201
    assert set(found) == ids | {"first"}

"""A migrated database, events to put in it, and both ways in which events arrive."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

import aio_pika
import psycopg
import pytest
import redis.asyncio
from psycopg.rows import dict_row

from analytics.deliveries import Source
from analytics.migrate import migrate
from analytics.outbox_source import OutboxSource
from analytics.rabbit_source import RabbitSource
from analytics.settings import Settings
from analytics.worker import Worker
from contracts import topology
from contracts.usage_event import BATCH_CONTENT_TYPE, UsageEvent, encode, encode_batch

SERVICE_TOKEN = "service-token-of-the-tests"


@pytest.fixture
def usage_database_url(database_url: str) -> str:
    migrate(database_url)
    return database_url


MakeEvent = Callable[..., UsageEvent]


@pytest.fixture
def make_event() -> MakeEvent:
    """A plausible event; every call has an id of its own."""
    numbers = itertools.count()

    def make(**facts: Any) -> UsageEvent:
        plain: dict[str, Any] = {
            "event_id": f"call-{next(numbers):06d}",
            "occurred_at": datetime.now(UTC),
            "organization_id": "org_a",
            "project_id": "proj_a",
            "key_id": "key_a",
            "owner_kind": "user",
            "owner_id": "user_a",
            "operation": "chat/completions",
            "model_id": "tern-demo",
            "usage_source": "reported",
            "tokens": {"input": 10, "cached_input": 4, "output": 5, "reasoning_output": 1},
            "cost_nano_usd": 1000,
            "cost_input_nano_usd": 300,
            "cost_cached_input_nano_usd": 100,
            "price_version": "p1",
        }
        return UsageEvent.model_validate(plain | facts)

    return make


MakeSettings = Callable[..., Settings]


@pytest.fixture
def make_settings(usage_database_url: str) -> MakeSettings:
    def make(**facts: Any) -> Settings:
        plain: dict[str, Any] = {
            "database_url": usage_database_url,
            "service_token": SERVICE_TOKEN,
            "org_service_url": "http://127.0.0.1:9",
            "org_service_token": SERVICE_TOKEN,
            "poll_seconds": 0.1,
            "retry_seconds": 0.05,
            "claim_after_seconds": 0.3,
        }
        return Settings(**(plain | facts))

    return make


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

    async def prepare(self) -> None:
        pass

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


@pytest.fixture
async def rabbit(rabbitmq_url: str) -> AsyncIterator[RabbitArrival]:
    async with await aio_pika.connect(rabbitmq_url) as connection:
        arrival = RabbitArrival(rabbitmq_url, await connection.channel())
        await arrival.prepare()
        yield arrival


@pytest.fixture
async def outbox(redis_server_url: str, redis_client: redis.asyncio.Redis) -> OutboxArrival:
    return OutboxArrival(redis_server_url, redis_client)


@pytest.fixture(params=["rabbit", "outbox"])
def arrival_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def arrival(
    arrival_name: str, rabbitmq_url: str, redis_server_url: str, redis_client: redis.asyncio.Redis
) -> AsyncIterator[Arrival]:
    """Each test that asks for this runs against both."""
    if arrival_name == "outbox":
        yield OutboxArrival(redis_server_url, redis_client)
        return
    async with await aio_pika.connect(rabbitmq_url) as connection:
        rabbit = RabbitArrival(rabbitmq_url, await connection.channel())
        await rabbit.prepare()
        yield rabbit


Working = Callable[..., AbstractAsyncContextManager[Worker]]


@pytest.fixture
def working() -> Working:
    """A worker that runs beside the test and is stopped after it."""

    @asynccontextmanager
    async def work(worker: Worker) -> AsyncIterator[Worker]:
        task = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            worker.stop()
            await asyncio.wait_for(task, 20)

    return work


class Books:
    """What the database says, asked behind the service's back."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True, row_factory=dict_row)

    def ask(self, query: str) -> list[dict[str, Any]]:
        return self._connection.execute(query).fetchall()  # type: ignore[call-overload,no-any-return]

    def total(self, table: str = "usage_events") -> dict[str, int]:
        (row,) = self.ask(
            f"""SELECT coalesce(sum(requests), 0)::bigint AS requests,
            coalesce(sum(input_tokens), 0)::bigint AS input_tokens,
            coalesce(sum(output_tokens), 0)::bigint AS output_tokens,
            coalesce(sum(cost_nano_usd), 0)::bigint AS cost_nano_usd FROM {table}"""
        )
        return row

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def books(usage_database_url: str) -> Iterator[Books]:
    opened = Books(usage_database_url)
    yield opened
    opened.close()


@pytest.fixture
def encoded() -> Callable[[list[UsageEvent]], list[bytes]]:
    return lambda events: [encode(event) for event in events]


async def eventually(check: Callable[[], bool], timeout_seconds: float = 20.0) -> None:
    """Wait until `check` holds; fail when it never does."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + timeout_seconds
    while not check():
        assert loop.time() < give_up_at, "never came true"
        await asyncio.sleep(0.02)


@pytest.fixture(name="eventually")
def eventually_fixture() -> Any:
    return eventually

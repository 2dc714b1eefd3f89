"""A migrated database, events to put in it, and both ways in which events arrive."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
import redis.asyncio
from psycopg.rows import dict_row

from analytics.migrate import migrate
from analytics.settings import Settings
from analytics.worker import Worker
from contracts.usage_event import UsageEvent, encode
from tests.analytics.arrivals import Arrival, OutboxArrival, RabbitArrival, connected_rabbit

SERVICE_TOKEN = "service-token-of-the-tests"


@pytest.fixture(scope="session")
def template(postgres_server_url: str) -> Iterator[str]:
    """The name of a migrated database, copied for each test: migrating takes longer than most tests."""
    name = f"usage_template_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(postgres_server_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        migrate(f"{postgres_server_url.rpartition('/')[0]}/{name}")
        yield name
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def usage_database_url(postgres_server_url: str, template: str) -> Iterator[str]:
    """A copy of the template, dropped afterwards."""
    name = f"usage_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_server_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
        yield f"{postgres_server_url.rpartition('/')[0]}/{name}"
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


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


@pytest.fixture
async def rabbit(rabbitmq_url: str) -> AsyncIterator[RabbitArrival]:
    async with connected_rabbit(rabbitmq_url) as arrival:
        yield arrival


@pytest.fixture
async def outbox(redis_server_url: str, redis_client: redis.asyncio.Redis) -> OutboxArrival:
    """Of an emptied server."""
    return OutboxArrival(redis_server_url, redis_client)


@pytest.fixture(params=["rabbit", "outbox"])
async def arrival(
    request: pytest.FixtureRequest, rabbitmq_url: str, redis_server_url: str, redis_client: redis.asyncio.Redis
) -> AsyncIterator[Arrival]:
    """Each test that asks for this runs against both."""
    if request.param == "outbox":
        yield OutboxArrival(redis_server_url, redis_client)
        return
    async with connected_rabbit(rabbitmq_url) as rabbit:
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
        self._url = url
        self._connection = psycopg.connect(url, autocommit=True, row_factory=dict_row)

    def reconnect(self) -> None:
        self._connection.close()
        self._connection = psycopg.connect(self._url, autocommit=True, row_factory=dict_row)

    def ask(self, query: str) -> list[dict[str, Any]]:
        return self._connection.execute(query).fetchall()

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

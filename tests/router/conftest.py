"""A router on a real socket, with the fake upstream behind it and the ledger's twin beside it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from openai import AsyncOpenAI

from contracts.topology import SHARD_COUNT
from contracts.usage_event import UsageEvent, decode
from router.app import Deps, RouterApp, create_app
from router.ledger.memory_ledger import MemoryLedger
from router.log import JsonLog
from router.ports import Balance
from router.settings import Settings
from router.telemetry import Telemetry
from tests.fakes.directory import KeysOfTheTest, MemoryCatalog
from tests.fakes.serving import served
from tests.fakes.upstream import FakeUpstream

MESSAGES = [{"role": "user", "content": "say something"}]
PATIENCE_SECONDS = 5.0


def settings_for_tests(**changes: Any) -> Settings:
    addresses = {"redis_url": "redis://unused", "org_service_url": "http://unused", "service_token": "unused"}
    quick = {"heartbeat_seconds": 0.05, "probe_seconds": 60.0, "unary_timeout_seconds": 30.0}
    return Settings(**{**addresses, **quick, **changes})


@dataclass
class House:
    """Everything a test of the whole router touches."""

    url: str
    app: RouterApp
    ledger: MemoryLedger
    directory: KeysOfTheTest
    catalog: MemoryCatalog
    upstream: FakeUpstream
    spare: FakeUpstream
    http: httpx2.AsyncClient
    log: io.StringIO
    key: str = ""
    clients: list[AsyncOpenAI] = field(default_factory=list)

    def model(self, traits: str, **changes: Any) -> str:
        return self.catalog.add(traits, **changes)

    def sdk(self, key: str | None = None, **options: Any) -> AsyncOpenAI:
        client = AsyncOpenAI(base_url=f"{self.url}/v1", api_key=key or self.key, max_retries=0, **options)
        self.clients.append(client)
        return client

    async def post(self, body: Any, path: str = "/v1/chat/completions", **options: Any) -> httpx2.Response:
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        headers |= options.pop("headers", {})
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.http.post(path, content=content, headers=headers, **options)

    async def chat(self, traits: str, **fields: Any) -> httpx2.Response:
        model = f"model:{traits}"
        if model not in self.catalog.models:
            self.model(traits)
        return await self.post({"model": model, "messages": MESSAGES, **fields})

    @contextlib.asynccontextmanager
    async def open_stream(self, traits: str, **fields: Any) -> AsyncIterator[httpx2.Response]:
        model = self.model(traits)
        body = {"model": model, "messages": MESSAGES, "stream": True, **fields}
        headers = {"authorization": f"Bearer {self.key}"}
        async with self.http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as response:
            yield response

    async def events(self) -> list[UsageEvent]:
        """Every usage event in the outbox."""
        shards = [await self.ledger.outbox.read(shard, 10_000) for shard in range(SHARD_COUNT)]
        return [decode(json.loads(entry.event)) for entries in shards for entry in entries]

    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not holds():  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.005)

    async def at_rest(self) -> None:
        """Nothing is reserved, no slot is taken, no call is open, no upstream is busy."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await self.busy():  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.005)

    async def busy(self) -> list[str]:
        """What is still held somewhere."""
        balances = [balance for grant in self.directory.grants for balance in await self.ledger.balances(grant)]
        held = [f"{owed}" for owed in balances if owed.slots or is_reserved(owed)]
        held += [f"open call {call.admission.reservation.call_id}" for call in self.app.open_calls]
        served_calls = [*self.upstream.calls, *self.spare.calls]
        held += [f"upstream call {call.request_id}" for call in served_calls if not call.ended]
        states = [self.app.walk.upstreams.state(upstream) for upstream in self.catalog.upstreams]
        return held + [f"{state.in_flight} in flight" for state in states if state.in_flight]


def is_reserved(owed: Balance) -> bool:
    """Whether more is held than was spent; a period without either may be missing."""
    periods = {*owed.held_nano_usd, *owed.spent_nano_usd}
    return any(owed.held_nano_usd.get(period, 0) != owed.spent_nano_usd.get(period, 0) for period in periods)


@pytest.fixture
def router_settings() -> dict[str, Any]:
    """What differs from the settings of all tests; a test module or class overrides it."""
    return {}


@pytest.fixture
def ledger() -> MemoryLedger:
    return MemoryLedger()


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry(None)


@pytest.fixture
async def house(
    router_settings: dict[str, Any], ledger: MemoryLedger, telemetry: Telemetry
) -> AsyncIterator[House]:
    upstream, spare, directory = FakeUpstream(), FakeUpstream(), KeysOfTheTest()
    log = io.StringIO()
    async with contextlib.AsyncExitStack() as stack:
        first, _ = await stack.enter_async_context(served(upstream, lifespan=False))
        catalog = MemoryCatalog([f"{first}/v1"])
        deps = Deps(ledger=ledger, directory=directory, catalog=catalog)
        app = create_app(settings_for_tests(**router_settings), deps, JsonLog(log), telemetry)
        url, _ = await stack.enter_async_context(served(app))
        http = await stack.enter_async_context(httpx2.AsyncClient(base_url=url, timeout=20, verify=False))
        house = House(url, app, ledger, directory, catalog, upstream, spare, http, log, directory.issue())
        yield house
        for client in house.clients:
            await client.close()
        await house.at_rest()

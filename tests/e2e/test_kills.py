"""SIGKILL in the middle of load: router, worker, RabbitMQ, Redis and an upstream. Afterwards ledger and analytics
agree to the nano, nothing is lost or counted twice, and what was delivered unmetered stays within its bound."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

import httpx2
import pytest

from tern.stack.process import Part, accepts_connections, spawn
from tests.e2e.product import ROOT, Product
from tests.e2e.watching import at_rest

MODEL = "tokens-200+pace-2"
STREAMS_AT_ONCE = 24
LOAD_SECONDS = 6.0
KILL_AFTER_SECONDS = 2.0
TOKENS_PER_SECOND = 500
HEARTBEAT_SECONDS = 1.0

pytestmark = pytest.mark.faults


@dataclass
class Load:
    """Streams over both routers until told to stop; `delivered` is what the clients really received."""

    product: Product
    delivered: int = 0
    finished: int = 0
    broken: int = 0
    refused: int = 0
    going: bool = True
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def run_one(self, client: httpx2.AsyncClient, index: int) -> None:
        turn = index
        while self.going:
            turn += 1
            url = f"{self.product.routers[turn % len(self.product.routers)]}/v1/chat/completions"
            try:
                await self._stream(client, url)
            except (httpx2.HTTPError, OSError):
                self.broken += 1
                await asyncio.sleep(0.05)

    async def _stream(self, client: httpx2.AsyncClient, url: str) -> None:
        body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "go on"}]}
        async with client.stream("POST", url, json=body) as reply:
            if reply.status_code != 200:
                self.refused += 1
                await asyncio.sleep(0.1)
                return
            async for line in reply.aiter_lines():
                self.delivered += line.count('"content":"word')
        self.finished += 1


@contextlib.asynccontextmanager
async def load(product: Product) -> AsyncIterator[Load]:
    headers = {"authorization": f"Bearer {product.api_key}"}
    made = Load(product)
    async with httpx2.AsyncClient(headers=headers, timeout=30) as client:
        made.tasks = [asyncio.create_task(made.run_one(client, index)) for index in range(STREAMS_AT_ONCE)]
        yield made
        made.going = False
        await asyncio.gather(*made.tasks)


@pytest.fixture
def upstream_process(product: Product, upstream_port: int) -> Iterator[Callable[[], Part]]:
    """Starts the fake upstream as a process on the port that the catalog names."""
    started: list[Part] = []

    def start() -> Part:
        argv = [sys.executable, "-m", "tests.fakes.upstream", "--port", str(upstream_port)]
        part = spawn("upstream", argv, product.directory, run_in=ROOT)
        part.wait_ready(lambda: accepts_connections(upstream_port), 30)
        started.append(part)
        return part

    yield start
    for part in started:
        part.stop()


def kill_router(product: Product, upstream: Part) -> Callable[[], object]:
    product.kill("router-1")
    return lambda: product.start_router(1)


def kill_worker(product: Product, upstream: Part) -> Callable[[], object]:
    product.kill("worker")
    return product.start_worker


def kill_rabbitmq(product: Product, upstream: Part) -> Callable[[], object]:
    broker = product.servers.parts["rabbitmq"]
    broker.kill()
    broker.stop()
    return product.servers.start_rabbitmq


def kill_redis(product: Product, upstream: Part) -> Callable[[], object]:
    product.servers.parts["redis"].kill()
    return product.servers.start_redis


def kill_upstream(product: Product, upstream: Part) -> Callable[[], object]:
    upstream.kill()
    return lambda: None


@pytest.mark.parametrize("kill", [kill_router, kill_worker, kill_rabbitmq, kill_redis, kill_upstream])
async def test_a_killed_part_loses_nothing_and_counts_nothing_twice(
    product: Product,
    upstream_process: Callable[[], Part],
    kill: Callable[[Product, Part], Callable[[], object]],
) -> None:
    upstream = upstream_process()
    await at_rest(product)
    question = "count(*), count(DISTINCT event_id), coalesce(sum(output_tokens), 0), coalesce(sum(requests), 0)"
    reaped_question = "count(*) FILTER (WHERE usage_source = 'reaped')"
    before, reaped_before = product.analytics_rows(question), product.analytics_rows(reaped_question)[0]
    async with load(product) as running:
        await asyncio.sleep(KILL_AFTER_SECONDS)
        restart = kill(product, upstream)
        await asyncio.sleep(1.0)
        await asyncio.to_thread(restart)
        if kill is kill_upstream:
            upstream_process()
        await asyncio.sleep(LOAD_SECONDS - KILL_AFTER_SECONDS)
    healed_at = time.monotonic()
    spent = await at_rest(product)
    rows, distinct, metered, _ = (
        now - then for now, then in zip(product.analytics_rows(question), before, strict=True)
    )
    reaped = product.analytics_rows(reaped_question)[0] - reaped_before
    unmetered = running.delivered - metered
    bound = reaped * TOKENS_PER_SECOND * HEARTBEAT_SECONDS
    counts = f"{running.finished} finished, {running.broken} broken, {running.refused} refused"
    print(f"\n{kill.__name__}: streams {counts}")
    print(f"ledger = analytics = {spent} nano-USD, at rest after {time.monotonic() - healed_at:.1f} s")
    print(f"{rows} events, {rows - distinct} double; delivered {running.delivered}, metered {metered}")
    print(f"delivered - metered = {unmetered} <= {bound:.0f} ({reaped} reaped)")
    assert rows == distinct
    assert running.finished > 0
    assert unmetered <= bound
    assert running.finished <= rows

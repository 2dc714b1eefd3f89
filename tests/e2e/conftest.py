"""One set of real servers for all stories, and a deployment of processes on them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import httpx2
import pytest

from tern.stack.process import free_port
from tests.e2e.collector import Collector, collecting
from tests.e2e.product import Product, Servers, catalog_for, running_servers
from tests.fakes.serving import served
from tests.fakes.upstream import FakeUpstream

MODELS = ("tokens-8", "tokens-200+pace-2", "tokens-400+pace-5", "status-400", "status-500", "garbage-after-2")
ROUTERS = 2


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with running_servers() as running:
        yield running


@pytest.fixture(scope="session")
def upstream_port() -> int:
    """Where the fake upstream of each test listens; the catalog keeps pointing there."""
    return free_port()


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@pytest.fixture(scope="session")
def product(servers: Servers, upstream_port: int, collector: Collector) -> Iterator[Product]:
    """Two routers, org_service, analytics and a worker, installed once and used by every story. The second router
    traces, and so takes the other way to its upstreams."""
    made = Product(servers, servers.directory, [free_port() for _ in range(ROUTERS)])
    made.router_settings = {1: {"TRACES_ENDPOINT": collector.url}}
    asyncio.run(made.install(catalog_for(MODELS, [f"http://127.0.0.1:{upstream_port}"])))
    with ExitStack() as stack:
        stack.callback(made.stop)
        made.start()
        yield made


@pytest.fixture
async def upstream(product: Product, upstream_port: int) -> AsyncIterator[FakeUpstream]:
    """A fake upstream that every router has noticed: one that was away a moment ago is ejected until a probe."""
    fake = FakeUpstream()
    async with served(fake, lifespan=False, port=upstream_port):
        await noticed(product)
        fake.calls.clear()
        yield fake


async def noticed(product: Product) -> None:
    """Every router gets an answer from every model that gives one."""
    headers = {"authorization": f"Bearer {product.api_key}"}
    async with httpx2.AsyncClient(headers=headers, timeout=30) as client, asyncio.timeout(30):
        for url in product.routers:
            for model in (name for name in MODELS if name.startswith("tokens")):
                body = {"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": "there?"}]}
                while (await client.post(f"{url}/v1/chat/completions", json=body)).status_code != 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)

"""A migrated database, a running org service on a real socket, and its first organization."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx2
import pytest
import redis.asyncio
import uvicorn
from openai import AsyncOpenAI
from pydantic import SecretStr

from contracts.api_key import digest
from org_service.app import create_app
from org_service.bootstrap import Installation, Plan, bootstrap
from org_service.migrate import migrate
from org_service.settings import Settings

SERVICE_TOKEN = "service-token-of-the-tests"


@dataclass(frozen=True)
class Running:
    """A served org service: its address and what its bootstrap made."""

    url: str
    settings: Settings
    installation: Installation

    def sdk(self, admin_key: str | None = None) -> AsyncOpenAI:
        """The real SDK as the admin client; the operator's first admin key unless another is given."""
        admin_key = admin_key or self.installation.admin_key
        return AsyncOpenAI(base_url=f"{self.url}/v1", admin_api_key=admin_key, api_key="", max_retries=0)

    def http(self, admin_key: str | None = None) -> httpx2.AsyncClient:
        admin_key = admin_key or self.installation.admin_key
        return httpx2.AsyncClient(base_url=self.url, headers={"authorization": f"Bearer {admin_key}"})

    def internal(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(base_url=self.url, headers={"authorization": f"Bearer {SERVICE_TOKEN}"})


@pytest.fixture
def settings(database_url: str, redis_server_url: str) -> Settings:
    return Settings(
        database_url=SecretStr(database_url),
        redis_url=SecretStr(redis_server_url),
        service_token=SecretStr(SERVICE_TOKEN),
    )


@pytest.fixture
async def org(settings: Settings, redis_client: redis.asyncio.Redis) -> AsyncIterator[Running]:
    database_url = settings.database_url.get_secret_value()
    await migrate(database_url)
    installation = await bootstrap(database_url, Plan())
    config = uvicorn.Config(create_app(settings), port=0, log_config=None, lifespan="on", ws="none")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Running(f"http://127.0.0.1:{port}", settings, installation)
    server.should_exit = True
    await serving


async def resolve(org: Running, secret: str) -> dict[str, object]:
    """What a router is told about a secret."""
    async with org.internal() as client:
        reply = await client.post("/internal/v1/keys/resolve", json={"key_hash": digest(secret)})
    assert reply.status_code == 200, reply.text
    body: dict[str, object] = reply.json()
    return body

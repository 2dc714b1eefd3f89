"""A migrated database, a running org service on a real socket, and its first organization."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx2
import psycopg
import pytest
import redis.asyncio
from openai import AsyncOpenAI
from openai.resources.admin import AsyncAdmin
from pydantic import SecretStr

from contracts.api_key import digest
from org_service.app import create_app
from org_service.bootstrap import Installation, Plan, bootstrap
from org_service.migrate import migrate
from org_service.parts import Parts
from org_service.settings import Settings
from tests.fakes.serving import served

ADMIN_CLIENT = AsyncAdmin
"""Imported here and not lazily in the middle of a test, where its seconds would count as the service's."""

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


@dataclass(frozen=True)
class Template:
    """A migrated database with its first organization, copied for each test."""

    name: str
    installation: Installation


@pytest.fixture(scope="session")
def template(postgres_server_url: str) -> Iterator[Template]:
    name = f"org_template_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(postgres_server_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        yield Template(name, asyncio.run(_install(_address(postgres_server_url, name))))
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


async def _install(database_url: str) -> Installation:
    await migrate(database_url)
    return await bootstrap(database_url, Plan())


def _address(server_url: str, name: str) -> str:
    return f"{server_url.rpartition('/')[0]}/{name}"


@pytest.fixture
def installed_url(postgres_server_url: str, template: Template) -> Iterator[str]:
    """A copy of the template, dropped afterwards."""
    name = f"org_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_server_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template.name}" STRATEGY file_copy')
        yield _address(postgres_server_url, name)
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def settings(installed_url: str, redis_server_url: str) -> Settings:
    return Settings(
        database_url=SecretStr(installed_url),
        redis_url=SecretStr(redis_server_url),
        service_token=SecretStr(SERVICE_TOKEN),
    )


@asynccontextmanager
async def serving(settings: Settings, parts: Parts | None = None) -> AsyncIterator[str]:
    """An org service on a real socket; its address."""
    async with served(create_app(settings, parts)) as (url, _):
        yield url


@pytest.fixture
async def org(settings: Settings, template: Template, redis_client: redis.asyncio.Redis) -> AsyncIterator[Running]:
    async with serving(settings) as url:
        yield Running(url, settings, template.installation)


async def resolve(org: Running, secret: str) -> dict[str, object]:
    """What a router is told about a secret."""
    async with org.internal() as client:
        reply = await client.post("/internal/v1/keys/resolve", json={"key_hash": digest(secret)})
    assert reply.status_code == 200, reply.text
    body: dict[str, object] = reply.json()
    return body

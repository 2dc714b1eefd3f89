"""From a call on a router to the administrator's view of its key, over the real adapters."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import redis.asyncio
from prometheus_client import CollectorRegistry

from org_service.app import create_app
from org_service.settings import Settings
from router.app import Deps, connected, running
from router.authenticate import authenticate
from router.log import JsonLog
from router.settings import Settings as RouterSettings
from tern.stack.process import free_port
from tests.fakes.serving import served
from tests.org_service.conftest import Running, Template
from tests.org_service.test_feed import eventually


@dataclass(frozen=True)
class Router:
    """A router's adapters, with the duty that reports running."""

    deps: Deps
    registry: CollectorRegistry

    async def show(self, secret: str) -> str:
        """Authenticate as a call does; the id of the key."""
        headers = {b"authorization": f"Bearer {secret}".encode()}
        return (await authenticate(headers, self.deps.directory, datetime.now(UTC))).key_id

    def failures(self) -> float:
        return self.registry.get_sample_value("tern_router_report_use_failures_total") or 0


@asynccontextmanager
async def a_router(org: Running, report_use_seconds: float) -> AsyncIterator[Router]:
    settings = RouterSettings(
        redis_url=org.settings.redis_url,
        org_service_url=org.url,
        service_token=org.settings.service_token,
        report_use_seconds=report_use_seconds,
    )
    registry = CollectorRegistry()
    async with connected(settings, registry, JsonLog(io.StringIO())) as deps:
        async with running(dict(deps.duties)["report_use"]) as duty:
            yield Router(deps, registry)
        await asyncio.wait({duty})


async def last_used_at(org: Running, key_id: str) -> int:
    """In whole seconds, as the SDK shows it; 0 for never."""
    async with org.sdk() as client:
        keys = client.admin.organization.projects.api_keys
        key = await keys.retrieve(key_id, project_id=org.installation.project_id or "")
    return key.last_used_at or 0


async def is_later(org: Running, key_id: str, than: int = 0) -> bool:
    return await last_used_at(org, key_id) > than


async def test_what_a_router_saw_is_shown_after_its_interval(org: Running) -> None:
    async with a_router(org, report_use_seconds=0.05) as router:
        key_id = await router.show(org.installation.api_key or "")
        await eventually(lambda: is_later(org, key_id))


async def test_a_router_that_leaves_tells_what_it_saw(org: Running) -> None:
    async with a_router(org, report_use_seconds=600) as router:
        key_id = await router.show(org.installation.api_key or "")
        assert not await is_later(org, key_id)
    assert await is_later(org, key_id)


async def test_what_was_seen_while_org_service_is_away_is_told_when_it_is_back(
    settings: Settings, template: Template, redis_client: redis.asyncio.Redis
) -> None:
    port = free_port()
    org = Running(f"http://127.0.0.1:{port}", settings, template.installation)
    secret = org.installation.api_key or ""
    async with contextlib.AsyncExitStack() as stack:
        async with served(create_app(settings), port=port):
            router = await stack.enter_async_context(a_router(org, report_use_seconds=0.05))
            key_id = await router.show(secret)
            await eventually(lambda: is_later(org, key_id))
            shown = await last_used_at(org, key_id)
        await asyncio.sleep(max(0.0, shown + 1 - datetime.now(UTC).timestamp()))
        await router.show(secret)
        await eventually(lambda: router.failures() > 1)
        async with served(create_app(settings), port=port):
            await eventually(lambda: is_later(org, key_id, than=shown))

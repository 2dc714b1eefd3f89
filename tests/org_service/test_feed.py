"""From an administrator's click to a router's memory, over the real feed."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry

from contracts.api_key import digest
from contracts.grant import Grant, Refusal
from org_service.app import create_app
from router.directory.catalog_source import OrgCatalogSource
from router.directory.key_directory import OrgKeyDirectory
from router.directory.org_client import OrgClient
from router.duties.follow import Follower, connect_feed
from router.log import JsonLog
from tests.org_service.conftest import SERVICE_TOKEN, Running


@dataclass(frozen=True)
class RouterMemory:
    """The part of a router that knows keys and catalog, following the feed."""

    directory: OrgKeyDirectory
    catalogs: OrgCatalogSource
    follower: Follower
    registry: CollectorRegistry


@asynccontextmanager
async def following(org: Running) -> AsyncIterator[RouterMemory]:
    client = OrgClient(org.url, SERVICE_TOKEN, timeout_seconds=30)
    feed = connect_feed(org.settings.redis_url.get_secret_value())
    directory, catalogs, registry = OrgKeyDirectory(client), OrgCatalogSource(client), CollectorRegistry()
    follower = Follower(feed, directory, catalogs, registry, JsonLog(io.StringIO()))
    running = asyncio.create_task(follower.run())
    await eventually(lambda: follower.is_following and catalogs.is_loaded)
    yield RouterMemory(directory, catalogs, follower, registry)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await feed.aclose()
    await client.close()


async def eventually(holds: Callable[[], bool | Awaitable[bool]], timeout_seconds: float = 10.0) -> None:
    """Wait until it holds; a promise that is kept late is found by the test that measures it."""
    async with asyncio.timeout(timeout_seconds):
        while True:
            answer = holds()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.002)


@pytest.fixture
async def memory(org: Running) -> AsyncIterator[RouterMemory]:
    async with following(org) as router_memory:
        yield router_memory


async def test_a_revoked_key_is_refused_from_memory_within_a_second(org: Running, memory: RouterMemory) -> None:
    secret = org.installation.api_key or ""
    project_id = org.installation.project_id or ""
    grant = await memory.directory.find(digest(secret))
    assert isinstance(grant, Grant)
    async with org.sdk() as admin:
        keys = admin.admin.organization.projects.api_keys
        await keys.delete(grant.key_id, project_id=project_id)
        started = time.monotonic()
        await eventually(lambda: not memory.directory.is_live(grant), timeout_seconds=1.0)
        print(f"revocation took effect {1000 * (time.monotonic() - started):.1f} ms after the reply")  # noqa: T201
    assert await memory.directory.find(digest(secret)) is Refusal.REVOKED
    assert memory.registry.get_sample_value("tern_router_follow_delay_seconds_count") >= 1


async def test_an_archived_project_kills_its_keys(org: Running, memory: RouterMemory) -> None:
    key_hash = digest(org.installation.api_key or "")
    grant = await memory.directory.find(key_hash)
    assert isinstance(grant, Grant)
    async with org.sdk() as admin:
        await admin.admin.organization.projects.archive(grant.project_id)
    await eventually(lambda: not memory.directory.is_live(grant))
    assert await memory.directory.find(key_hash) is Refusal.REVOKED


async def test_new_limits_reach_a_cached_grant(org: Running, memory: RouterMemory) -> None:
    key_hash = digest(org.installation.api_key or "")
    before = await memory.directory.find(key_hash)
    assert isinstance(before, Grant)
    assert before.levels[1].spend == ()
    async with org.sdk() as admin:
        limits = admin.admin.organization.projects.spend_limit
        await limits.update(before.project_id, currency="USD", interval="month", threshold_amount=250)

    async def has_limit() -> bool:
        grant = await memory.directory.find(key_hash)
        return isinstance(grant, Grant) and [each.limit_nano_usd for each in grant.levels[1].spend] == [
            2_500_000_000
        ]

    await eventually(has_limit, timeout_seconds=1.0)


async def test_a_key_that_expires_early_ends_its_streams(org: Running, memory: RouterMemory) -> None:
    grant = await memory.directory.find(digest(org.installation.api_key or ""))
    assert isinstance(grant, Grant)
    async with org.sdk() as admin:
        keys = admin.admin.organization.projects.api_keys
        await keys.update(grant.key_id, project_id=grant.project_id, expires_in_seconds=1)
    await eventually(lambda: not memory.directory.is_live(grant))


async def test_a_rotated_key_has_two_secrets_until_the_grace_is_over(org: Running, memory: RouterMemory) -> None:
    old_hash = digest(org.installation.api_key or "")
    grant = await memory.directory.find(old_hash)
    assert isinstance(grant, Grant)
    path = f"/v1/organization/projects/{grant.project_id}/api_keys/{grant.key_id}/rotate"
    async with org.http() as client:
        reply = (await client.post(path, json={"grace_period_seconds": 2})).json()
    assert reply["id"] == grant.key_id
    new = await memory.directory.find(digest(reply["value"]))
    assert isinstance(new, Grant)
    assert new.expires_at is None
    assert isinstance(await memory.directory.find(old_hash), Grant)
    await eventually(lambda: not memory.directory.is_live(grant))
    assert memory.directory.is_live(new)


async def test_a_rotation_without_grace_kills_the_old_secret_and_only_it(
    org: Running, memory: RouterMemory
) -> None:
    old_hash = digest(org.installation.api_key or "")
    grant = await memory.directory.find(old_hash)
    assert isinstance(grant, Grant)
    path = f"/v1/organization/projects/{grant.project_id}/api_keys/{grant.key_id}/rotate"
    async with org.http() as client:
        reply = (await client.post(path, json={"grace_period_seconds": 0})).json()
    await eventually(lambda: not memory.directory.is_live(grant))
    assert await memory.directory.find(old_hash) is Refusal.REVOKED
    assert isinstance(await memory.directory.find(digest(reply["value"])), Grant)


async def test_a_new_model_appears_in_the_catalog_of_every_router(org: Running, memory: RouterMemory) -> None:
    async with following(org) as second, org.http() as client:
        assert (await client.post("/v1/organization/models", json={"id": "tern-small"})).status_code == 200
        price = {"model": "tern-small", "input_nano_usd_per_million": 10**8, "output_nano_usd_per_million": 10**9}
        assert (await client.post("/v1/organization/prices", json=price)).status_code == 200
        for catalogs in (memory.catalogs, second.catalogs):
            await eventually(lambda catalogs=catalogs: [len(m.prices) for m in catalogs.snapshot().models] == [1])


async def test_every_replica_may_relay_and_each_change_leaves_once(org: Running, memory: RouterMemory) -> None:
    """Two org services on one database: changes arrive in the order of their commits, none is left behind."""

    second = create_app(org.settings)
    feed = connect_feed(org.settings.redis_url.get_secret_value())
    async with second.router.lifespan_context(second), org.sdk() as admin:
        names = [f"project {number}" for number in range(30)]
        made = [await admin.admin.organization.projects.create(name=name) for name in names]
        await asyncio.gather(*(admin.admin.organization.projects.archive(project.id) for project in made))

        async def archived() -> list[bytes]:
            entries = await feed.xrange("tern:changes")
            return [fields[b"change"] for _, fields in entries if b'"kind":"project"' in fields[b"change"]]

        async def all_arrived() -> bool:
            return len(await archived()) >= len(made)

        await eventually(all_arrived)
        assert len(await archived()) == len(made)
    await feed.aclose()

"""Following the change feed on a real Redis: what is heard takes effect, and what may be missed is doubted."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
import redis.asyncio
from prometheus_client import CollectorRegistry

from contracts.change import Change, ChangeKind
from contracts.topology import CHANGE_FEED, CHANGE_FIELD
from router.directory.org_client import OrgUnavailableError
from router.duties.follow import Feed, Follower, connect_feed
from router.log import JsonLog
from tern.stack.process import free_port
from tests.parts.servers import folder, start_redis


@dataclass
class Listener:
    """A directory and a catalog source that write down what they are told."""

    applied: list[Change] = field(default_factory=list)
    heard_count: int = 0
    distrusted: int = 0
    refreshed: int = 0
    catalog_failures: int = 0

    def apply(self, change: Change) -> None:
        self.applied.append(change)

    def heard(self) -> None:
        self.heard_count += 1

    def distrust(self) -> None:
        self.distrusted += 1

    async def refresh(self) -> None:
        self.refreshed += 1
        if self.catalog_failures > 0:
            self.catalog_failures -= 1
            raise OrgUnavailableError("away")


@dataclass
class Scene:
    listener: Listener
    follower: Follower
    registry: CollectorRegistry


@asynccontextmanager
async def following(feed: Feed, listener: Listener | None = None) -> AsyncIterator[Scene]:
    """A follower that has found the end of the feed."""
    listener = listener or Listener()
    registry = CollectorRegistry()
    follower = Follower(feed, listener, listener, registry, JsonLog(io.StringIO()))
    running = asyncio.create_task(follower.run())
    await eventually(lambda: listener.distrusted > 0)
    try:
        yield Scene(listener, follower, registry)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await feed.aclose()


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def say(client: redis.asyncio.Redis, kind: ChangeKind, name: str = "x") -> None:
    await client.xadd(CHANGE_FEED, {CHANGE_FIELD: Change(kind=kind, id=name).model_dump_json()})


async def test_a_change_is_applied_and_its_delay_exported(
    redis_server_url: str, redis_client: redis.asyncio.Redis
) -> None:
    async with following(connect_feed(redis_server_url)) as scene:
        await say(redis_client, ChangeKind.PROJECT, "proj_1")
        await eventually(lambda: [change.id for change in scene.listener.applied] == ["proj_1"])
        assert scene.registry.get_sample_value("tern_router_follow_delay_seconds_count") == 1


async def test_what_was_said_before_is_doubted_once_and_not_replayed(
    redis_server_url: str, redis_client: redis.asyncio.Redis
) -> None:
    await say(redis_client, ChangeKind.PROJECT, "old")
    async with following(connect_feed(redis_server_url)) as scene:
        await say(redis_client, ChangeKind.PROJECT, "new")
        await eventually(lambda: bool(scene.listener.applied))
        assert [change.id for change in scene.listener.applied] == ["new"]
        assert scene.listener.distrusted == 1


async def test_a_heartbeat_is_heard_and_changes_nothing(
    redis_server_url: str, redis_client: redis.asyncio.Redis
) -> None:
    async with following(connect_feed(redis_server_url)) as scene:
        assert not scene.follower.is_following
        await say(redis_client, ChangeKind.HEARTBEAT)
        await eventually(lambda: scene.follower.is_following)
        assert scene.listener.heard_count == 1
        assert scene.listener.applied == []


async def test_the_catalog_is_fetched_at_the_start_and_when_it_changes(
    redis_server_url: str, redis_client: redis.asyncio.Redis
) -> None:
    async with following(connect_feed(redis_server_url)) as scene:
        await eventually(lambda: scene.listener.refreshed == 1)
        await say(redis_client, ChangeKind.CATALOG)
        await eventually(lambda: scene.listener.refreshed == 2)


async def test_a_catalog_that_could_not_be_fetched_is_fetched_again(
    redis_server_url: str, redis_client: redis.asyncio.Redis
) -> None:
    async with following(connect_feed(redis_server_url), Listener(catalog_failures=2)) as scene:
        await eventually(lambda: scene.listener.refreshed == 3)


@pytest.mark.parametrize(
    "entry", [{"change": "no json"}, {"other": "field"}, {"change": '{"kind":"of tomorrow"}'}]
)
async def test_an_entry_that_is_no_change_makes_everything_doubtful(
    redis_server_url: str, redis_client: redis.asyncio.Redis, entry: dict[str, str]
) -> None:
    async with following(connect_feed(redis_server_url)) as scene:
        await redis_client.xadd(CHANGE_FEED, entry)
        await eventually(lambda: scene.listener.distrusted == 2)
        assert scene.registry.get_sample_value("tern_router_follow_malformed_total") == 1
        await say(redis_client, ChangeKind.USER)
        await eventually(lambda: len(scene.listener.applied) == 1)


async def test_after_a_crash_of_redis_everything_is_doubted_and_the_feed_followed_again() -> None:
    with folder("feed") as directory, ExitStack() as started:
        port = free_port()
        server = start_redis(directory, port)
        started.callback(server.stop)
        url = f"redis://127.0.0.1:{port}/0"
        async with following(connect_feed(url)) as scene:
            server.kill()
            lost = "tern_router_follow_lost_total"
            await eventually(lambda: (scene.registry.get_sample_value(lost) or 0) > 0)
            started.callback(start_redis(directory, port).stop)
            await eventually(lambda: scene.listener.distrusted == 2)
            client = redis.asyncio.Redis.from_url(url)
            await say(client, ChangeKind.PROJECT, "after")
            await eventually(lambda: [change.id for change in scene.listener.applied] == ["after"])
            await client.aclose()


async def test_a_cluster_is_followed_alike(
    redis_cluster_port: int, redis_cluster_client: redis.asyncio.Redis
) -> None:
    async with following(connect_feed(f"redis+cluster://127.0.0.1:{redis_cluster_port}")) as scene:
        await say(redis_cluster_client, ChangeKind.PROJECT, "proj_1")
        await eventually(lambda: len(scene.listener.applied) == 1)

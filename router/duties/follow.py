"""The duty that follows the change feed, so that a change takes effect here within a second.

After each (re)connection every cached key is doubted: what was said meanwhile may never be heard. Silence needs
no action of its own: the directory trusts its answers only as long as it hears the feed, heartbeats included.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from pydantic import ValidationError
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import RedisClusterException, RedisError

from contracts.change import Change, ChangeKind
from contracts.topology import CHANGE_FEED, CHANGE_FIELD, CHANGE_HEARTBEAT_SECONDS
from router.directory.org_client import OrgUnavailableError
from router.log import JsonLog

_BLOCK_MS: Final = 500
_PATIENCE_SECONDS: Final = 2.0
_BATCH: Final = 1000
_RETRY_SECONDS: Final = 0.25
_CATALOG_SECONDS: Final = 60.0
SILENT_AFTER_SECONDS: Final = 3 * CHANGE_HEARTBEAT_SECONDS

Feed = Redis | RedisCluster


def connect_feed(redis_url: str) -> Feed:
    """A client of its own for blocking reads; `redis+cluster://` for a cluster. Close it with `aclose`.

    It has no socket timeout: redis-py keeps that with asyncio.wait_for, which on Python 3.11 may swallow a
    cancellation, and then the duty could not be stopped. The duty keeps its own time.
    """
    options: dict[str, Any] = {"socket_timeout": None, "protocol": 2}
    if redis_url.startswith("redis+cluster://"):
        return RedisCluster.from_url(redis_url.replace("redis+cluster", "redis", 1), **options)
    return Redis.from_url(redis_url, socket_connect_timeout=_PATIENCE_SECONDS, **options)


class Directory(Protocol):
    """What the feed tells the key directory."""

    def apply(self, change: Change) -> None: ...

    def heard(self) -> None: ...

    def distrust(self) -> None: ...


class Catalogs(Protocol):
    async def refresh(self) -> None: ...


class FollowMetrics:
    """`silence_seconds` is how long the feed has said nothing, heartbeats included."""

    def __init__(self, registry: CollectorRegistry, silence_seconds: Callable[[], float]) -> None:
        self.delay = Histogram(
            "tern_router_follow_delay_seconds",
            "From a change's append to the feed until it took effect here.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
            registry=registry,
        )
        self.lost = Counter("tern_router_follow_lost", "Times that the change feed broke off.", registry=registry)
        self.malformed = Counter(
            "tern_router_follow_malformed", "Entries of the change feed that are no change.", registry=registry
        )
        gauge = Gauge("tern_router_follow_silence_seconds", "Silence of the change feed.", registry=registry)
        gauge.set_function(silence_seconds)


class Follower:
    """`run` it until cancelled. `is_following` is False until the feed is heard, and again in silence."""

    def __init__(
        self, feed: Feed, directory: Directory, catalogs: Catalogs, registry: CollectorRegistry, log: JsonLog
    ) -> None:
        self._feed = feed
        self._directory = directory
        self._catalogs = catalogs
        self._log = log
        self._heard_at = time.monotonic() - SILENT_AFTER_SECONDS
        self._metrics = FollowMetrics(registry, self._silence_seconds)
        self._catalog_due = asyncio.Event()
        self._feed_clock_seconds = 0.0

    @property
    def is_following(self) -> bool:
        return self._silence_seconds() < SILENT_AFTER_SECONDS

    def _silence_seconds(self) -> float:
        return time.monotonic() - self._heard_at

    async def run(self) -> None:
        async with asyncio.TaskGroup() as duties:
            duties.create_task(self._follow_for_ever())
            duties.create_task(self._keep_catalog())

    async def _follow_for_ever(self) -> None:
        while True:
            try:
                await self._follow()
            except (RedisError, RedisClusterException, OSError) as error:
                self._metrics.lost.inc()
                self._log.warning("follow", lost=type(error).__name__)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _follow(self) -> None:
        """Read from the feed's present end onwards, after doubting everything that was learned before."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            position = await self._end_of_feed()
        self._directory.distrust()
        self._catalog_due.set()
        while True:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                reply: Any = await self._feed.xread({CHANGE_FEED: position}, count=_BATCH, block=_BLOCK_MS)
            for entry_id, fields in _entries(reply):
                position = entry_id
                self._take(entry_id, fields)

    async def _end_of_feed(self) -> bytes:
        """The id of the last entry; on the way the feed's clock is compared with ours."""
        seconds, microseconds = await self._time()
        self._feed_clock_seconds = seconds + microseconds / 1e6 - time.monotonic()
        last: Any = await self._feed.xrevrange(CHANGE_FEED, count=1)
        return last[0][0] if last else b"0-0"

    async def _time(self) -> tuple[int, int]:
        if isinstance(self._feed, RedisCluster):
            await self._feed.initialize()
            node = self._feed.get_node_from_key(CHANGE_FEED)
            seconds, microseconds = await self._feed.execute_command("TIME", target_nodes=[node])
            return int(seconds), int(microseconds)
        return await self._feed.time()

    def _take(self, entry_id: bytes, fields: dict[bytes, bytes]) -> None:
        self._heard_at = time.monotonic()
        self._directory.heard()
        try:
            change = Change.model_validate_json(fields.get(CHANGE_FIELD.encode(), b""))
        except ValidationError:
            self._metrics.malformed.inc()
            self._directory.distrust()
            return
        if change.kind is ChangeKind.HEARTBEAT:
            return
        if change.kind is ChangeKind.CATALOG:
            self._catalog_due.set()
        else:
            self._directory.apply(change)
            self._observe_delay(entry_id)

    def _observe_delay(self, entry_id: bytes) -> None:
        appended_seconds = int(entry_id.partition(b"-")[0]) / 1000
        self._metrics.delay.observe(max(0.0, time.monotonic() + self._feed_clock_seconds - appended_seconds))

    async def _keep_catalog(self) -> None:
        """Whenever it is said to have changed, and once a minute in case that was never heard."""
        wait_seconds = _CATALOG_SECONDS
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):
                    await self._catalog_due.wait()
            self._catalog_due.clear()
            wait_seconds = _CATALOG_SECONDS if await self._refresh_catalog() else _RETRY_SECONDS

    async def _refresh_catalog(self) -> bool:
        try:
            await self._catalogs.refresh()
        except OrgUnavailableError as error:
            self._log.warning("follow", catalog=str(error))
            return False
        return True


def _entries(reply: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """The entries of the one stream that was read; an empty reply has none."""
    return list(reply[0][1]) if reply else []

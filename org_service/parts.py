"""What the app is made of: the adapters that `create_app` builds, or that a test hands in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster

from org_service.db import Database, create_engine
from org_service.settings import Settings
from org_service.telemetry import SERVICE_NAME, Telemetry

RedisClient = Redis | RedisCluster


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Parts:
    database: Database
    redis: RedisClient
    service_token: str
    now: Callable[[], datetime] = utc_now
    telemetry: Telemetry = field(default_factory=Telemetry)

    async def close(self) -> None:
        await self.redis.aclose()
        await self.database.close()


def build(settings: Settings) -> Parts:
    """Real adapters, not connected yet: the app starts while PostgreSQL or Redis is away."""
    return Parts(
        database=Database(create_engine(settings)),
        redis=connect_redis(settings),
        service_token=settings.service_token.get_secret_value(),
        telemetry=Telemetry.to(settings.traces_endpoint, SERVICE_NAME),
    )


def connect_redis(settings: Settings) -> RedisClient:
    """Without a socket timeout: redis-py keeps it with asyncio.wait_for, which on Python 3.11 may swallow a
    cancellation. Whoever uses the client keeps the time."""
    timeout = settings.redis_timeout_seconds
    url = settings.redis_url.get_secret_value()
    if url.startswith("redis+cluster://"):
        return RedisCluster.from_url(url.replace("redis+cluster", "redis", 1), socket_timeout=None)
    return Redis.from_url(url, socket_timeout=None, socket_connect_timeout=timeout)

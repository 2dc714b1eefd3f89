"""The servers under the suite are real and answer."""

from __future__ import annotations

import aio_pika
import psycopg
import redis.asyncio
from redis.asyncio.cluster import RedisCluster


async def test_redis_answers(redis_client: redis.asyncio.Redis) -> None:
    assert await redis_client.ping()


async def test_the_redis_cluster_enforces_slots(redis_cluster_client: RedisCluster) -> None:
    await redis_cluster_client.set("{s01}a", "1")
    assert await redis_cluster_client.get("{s01}a") == b"1"


def test_postgres_answers(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


async def test_rabbitmq_answers(rabbitmq_url: str) -> None:
    async with await aio_pika.connect(rabbitmq_url) as connection:
        assert not connection.is_closed

"""Real servers, started once per run, and a clean corner of them for each test."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
import redis.asyncio
from redis.asyncio.cluster import RedisCluster

from tern.stack.process import free_port
from tests.parts.servers import folder, start_postgres, start_rabbitmq, start_redis


@pytest.fixture(scope="session")
def redis_server_url() -> Iterator[str]:
    """A real Redis of this run, or the one given by TERN_TEST_REDIS_URL."""
    if given := os.environ.get("TERN_TEST_REDIS_URL"):
        yield given
        return
    with folder("redis") as directory:
        port = free_port()
        part = start_redis(directory, port)
        yield f"redis://127.0.0.1:{port}/0"
        part.stop()


@pytest.fixture(scope="session")
def redis_cluster_port() -> Iterator[int]:
    """A one-node Redis with `--cluster-enabled yes` that owns every slot."""
    with folder("cluster") as directory:
        port = free_port()
        part = start_redis(directory, port, cluster=True)
        yield port
        part.stop()


@pytest.fixture(scope="session")
def postgres_server_url() -> Iterator[str]:
    """A real PostgreSQL of this run, or the one given by TERN_TEST_POSTGRES_URL (a superuser's)."""
    if given := os.environ.get("TERN_TEST_POSTGRES_URL"):
        yield given
        return
    with folder("postgres") as directory:
        port = free_port()
        part = start_postgres(directory, port)
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        part.stop()


@pytest.fixture(scope="session")
def rabbitmq_url() -> Iterator[str]:
    """A real RabbitMQ of this run, or the one given by TERN_TEST_AMQP_URL."""
    if given := os.environ.get("TERN_TEST_AMQP_URL"):
        yield given
        return
    with folder("rabbitmq") as directory:
        port = free_port()
        part = start_rabbitmq(directory, port)
        yield f"amqp://guest:guest@127.0.0.1:{port}/"
        part.stop(grace_seconds=20)


@pytest.fixture
async def redis_client(redis_server_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    """A client of an emptied Redis."""
    client = redis.asyncio.Redis.from_url(redis_server_url)
    await client.flushdb()
    yield client
    await client.aclose()


@pytest.fixture
async def redis_cluster_client(redis_cluster_port: int) -> AsyncIterator[RedisCluster]:
    """A cluster client of an emptied one-node cluster."""
    client = RedisCluster(host="127.0.0.1", port=redis_cluster_port)
    await client.flushdb()
    yield client
    await client.aclose()


@pytest.fixture
def database_url(postgres_server_url: str) -> Iterator[str]:
    """A new, empty database (postgresql://...), dropped afterwards."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_server_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    base, _, _ = postgres_server_url.rpartition("/")
    yield f"{base}/{name}"
    with psycopg.connect(postgres_server_url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

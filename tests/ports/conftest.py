"""Each port's inhabitants: the memory twin, the real one, and the real one on a Redis Cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import redis

from router.ledger.connection import RedisAddress
from router.ledger.memory_ledger import MemoryLedger
from router.ledger.memory_outbox import MemoryOutbox
from router.ledger.pipeline import ScriptPipeline
from router.ledger.redis_ledger import RedisLedger
from router.ledger.redis_outbox import RedisOutbox
from router.ports import Ledger, Outbox
from tests.ledger.calls import Clock

LEASE_SECONDS = 10.0


@dataclass(slots=True)
class Bench:
    """A ledger on a clock that the test turns, and the outbox that it fills."""

    ledger: Ledger
    clock: Clock
    outbox: Outbox


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "redis", "cluster"])
async def bench(request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[Bench]:
    if request.param == "memory":
        outbox = MemoryOutbox()
        yield Bench(MemoryLedger(outbox, lease_seconds=LEASE_SECONDS, clock=clock), clock, outbox)
        return
    pipeline = ScriptPipeline(emptied(request, request.param), cluster=request.param == "cluster")
    yield Bench(
        RedisLedger(pipeline, lease_seconds=LEASE_SECONDS, clock=clock), clock, RedisOutbox(pipeline, "me")
    )
    await pipeline.close()


def emptied(request: pytest.FixtureRequest, kind: str) -> RedisAddress:
    """The address of a real server without data: `redis` or `cluster`."""
    if kind == "redis":
        address = RedisAddress.from_url(request.getfixturevalue("redis_server_url"))
    else:
        address = RedisAddress(port=request.getfixturevalue("redis_cluster_port"))
    with redis.Redis(host=address.host, port=address.port, db=address.database) as client:
        client.flushdb()
    return address

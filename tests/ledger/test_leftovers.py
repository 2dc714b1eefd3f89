"""What Redis holds after calls have ended: counters, outbox and markers, nothing that grows with open calls."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from router.duties.reap import Reaper
from router.ledger.connection import RedisAddress
from router.ledger.pipeline import RedisRefusedError, ScriptPipeline
from router.ledger.redis_ledger import REMEMBER_SECONDS, RedisLedger
from router.ports import Reservation
from tests.ledger.calls import Clock, event, grant, request


@pytest.fixture
async def pipeline(redis_client: Redis, redis_server_url: str) -> AsyncIterator[ScriptPipeline]:
    pipeline = ScriptPipeline(RedisAddress.from_url(redis_server_url))
    yield pipeline
    await pipeline.close()


async def test_ended_calls_leave_no_record_and_no_deadline(pipeline: ScriptPipeline, redis_client: Redis) -> None:
    clock = Clock()
    ledger = RedisLedger(pipeline, clock=clock)
    settled, released, reaped = [await ledger.reserve(request(grant())) for _ in range(3)]
    assert isinstance(settled, Reservation)
    assert isinstance(released, Reservation)
    assert isinstance(reaped, Reservation)
    assert await redis_client.keys("*:call:*")
    await ledger.settle(settled, event(settled))
    await ledger.release(released.call_id, grant())
    clock.turn(60)
    assert await Reaper(ledger).sweep() == 1
    assert await redis_client.keys("*:call:*") == []
    assert await redis_client.keys("*:deadlines") == []


async def test_a_call_is_remembered_for_long_and_then_forgotten(
    pipeline: ScriptPipeline, redis_client: Redis
) -> None:
    ledger = RedisLedger(pipeline)
    reservation = await ledger.reserve(request(grant()))
    assert isinstance(reservation, Reservation)
    await ledger.settle(reservation, event(reservation))
    (marker,) = await redis_client.keys("*:done:*")
    assert REMEMBER_SECONDS - 60 < await redis_client.ttl(marker) <= REMEMBER_SECONDS


async def test_every_key_of_an_organization_carries_one_tag(pipeline: ScriptPipeline, redis_client: Redis) -> None:
    ledger = RedisLedger(pipeline)
    reservation = await ledger.reserve(request(grant()))
    assert isinstance(reservation, Reservation)
    await ledger.settle(reservation, event(reservation))
    tags = {key[key.index(b"{") : key.index(b"}") + 1] for key in await redis_client.keys("tern:*")}
    assert len(tags) == 1


async def test_a_record_of_another_version_is_left_to_that_version(
    pipeline: ScriptPipeline, redis_client: Redis
) -> None:
    ledger = RedisLedger(pipeline)
    reservation = await ledger.reserve(request(grant()))
    assert isinstance(reservation, Reservation)
    (record,) = await redis_client.keys("*:call:*")
    await redis_client.hset(record, "version", "2")
    with pytest.raises(RedisRefusedError, match="version 2"):
        await ledger.settle(reservation, event(reservation))
    assert (await ledger.balances(grant()))[0].slots == 1

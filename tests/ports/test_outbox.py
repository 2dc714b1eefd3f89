"""What leaves the outbox: everything that was settled or reaped, until it is safe elsewhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from contracts.pricing import Tokens
from contracts.topology import outbox_stream, shard_of
from contracts.usage_event import UsageEvent, decode
from router.duties.reap import Reaper
from router.ledger.connection import RedisAddress
from router.ledger.outbox_entry import leaving
from router.ledger.pipeline import ScriptPipeline
from router.ledger.redis_ledger import RedisLedger
from router.ledger.redis_outbox import RedisOutbox
from router.ports import OutboxEntry, Reservation
from tests.ledger.calls import event, grant, request
from tests.ports.conftest import LEASE_SECONDS, Bench

SHARD = shard_of("org_1")


async def settled(bench: Bench, tokens: Tokens = Tokens(input=3, output=4)) -> UsageEvent:
    reservation = await bench.ledger.reserve(request(grant()))
    assert isinstance(reservation, Reservation)
    charged = event(reservation, tokens)
    await bench.ledger.settle(reservation, charged)
    return charged


def events(entries: list[OutboxEntry]) -> list[UsageEvent]:
    return [decode(json.loads(entry.event)) for entry in entries]


async def test_each_settlement_leaves_once_in_its_order(bench: Bench) -> None:
    charged = [await settled(bench) for _ in range(5)]
    first = await bench.outbox.read(SHARD, 3)
    assert events(first) == charged[:3]
    await bench.outbox.remove(SHARD, [entry.entry_id for entry in first])
    rest = await bench.outbox.read(SHARD, 3)
    assert events(rest) == charged[3:]
    await bench.outbox.remove(SHARD, [entry.entry_id for entry in rest])
    assert await bench.outbox.read(SHARD, 3) == []


async def test_what_was_read_and_not_removed_is_read_again(bench: Bench) -> None:
    charged = [await settled(bench)]
    assert events(await bench.outbox.read(SHARD, 10)) == charged
    charged.append(await settled(bench))
    assert events(await bench.outbox.read(SHARD, 10)) == charged


async def test_a_settlement_that_was_a_no_op_appends_nothing(bench: Bench) -> None:
    reservation = await bench.ledger.reserve(request(grant()))
    assert isinstance(reservation, Reservation)
    for _ in range(3):
        await bench.ledger.settle(reservation, event(reservation))
    assert len(await bench.outbox.read(SHARD, 10)) == 1


async def test_reaped_and_correction_add_up_to_what_was_used(bench: Bench) -> None:
    reservation = await bench.ledger.reserve(request(grant()))
    assert isinstance(reservation, Reservation)
    await bench.ledger.extend(reservation, Tokens(input=2, output=3))
    bench.clock.turn(LEASE_SECONDS)
    await Reaper(bench.ledger).sweep()
    late = event(reservation, Tokens(input=2, output=10))
    await bench.ledger.settle(reservation, late)
    reaped, correction = events(await bench.outbox.read(SHARD, 10))
    assert (correction.event_id, correction.corrects, correction.requests) == (
        f"{reservation.call_id}.correction", reservation.call_id, 0,
    )  # fmt: skip
    assert reaped.cost_nano_usd + correction.cost_nano_usd == late.cost_nano_usd
    assert reaped.tokens.output + correction.tokens.output == 10
    assert correction.occurred_at == reaped.occurred_at == reservation.occurred_at


def test_an_unreadable_correction_leaves_as_json_that_no_reader_takes_for_an_event() -> None:
    element = json.loads(leaving(b"not json", b"{}"))
    assert element["type"] == "tern.usage.unreadable"


@pytest.fixture
async def pipeline(redis_client: Redis, redis_server_url: str) -> AsyncIterator[ScriptPipeline]:
    pipeline = ScriptPipeline(RedisAddress.from_url(redis_server_url))
    yield pipeline
    await pipeline.close()


async def test_what_a_dead_consumer_left_is_claimed_by_another(
    pipeline: ScriptPipeline, redis_client: Redis
) -> None:
    ledger = RedisLedger(pipeline)
    reservation = await ledger.reserve(request(grant()))
    assert isinstance(reservation, Reservation)
    await ledger.settle(reservation, event(reservation))
    dead = RedisOutbox(pipeline, "dead")
    patient = RedisOutbox(pipeline, "patient", claim_after_seconds=60)
    heir = RedisOutbox(pipeline, "heir", claim_after_seconds=0.05)
    (left,) = await dead.read(SHARD, 10)
    assert await patient.read(SHARD, 10) == []
    await asyncio.sleep(0.06)
    assert await heir.read(SHARD, 10) == [left]
    await heir.remove(SHARD, [left.entry_id])
    assert await redis_client.xlen(outbox_stream(SHARD)) == 0
    assert (await redis_client.xpending(outbox_stream(SHARD), "drain"))["pending"] == 0


async def test_an_acknowledgement_lost_after_the_deletion_does_not_come_back(
    pipeline: ScriptPipeline, redis_client: Redis
) -> None:
    ledger = RedisLedger(pipeline)
    outbox = RedisOutbox(pipeline, "me", claim_after_seconds=3600)
    for _ in range(2):
        reservation = await ledger.reserve(request(grant()))
        assert isinstance(reservation, Reservation)
        await ledger.settle(reservation, event(reservation))
    first, second = await outbox.read(SHARD, 10)
    await redis_client.xdel(outbox_stream(SHARD), first.entry_id)
    assert await outbox.read(SHARD, 10) == [second]

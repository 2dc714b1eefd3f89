"""Stop 7 and its duty: only what the broker confirmed leaves the outbox, and it leaves soon."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from contracts.topology import shard_of
from router.duties.drain import DirtyShards, Drain
from router.ledger.memory_ledger import MemoryLedger
from router.ledger.memory_outbox import MemoryOutbox
from router.memory_broker import MemoryBroker
from router.ports import BrokerUnavailableError, Reservation
from router.publish import EVENTS_PER_MESSAGE, publish
from tests.ledger.calls import event, grant, request


@asynccontextmanager
async def running(drain: Drain) -> AsyncIterator[None]:
    task = asyncio.create_task(drain.run())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def settle_some(ledger: MemoryLedger, count: int, organization_id: str = "org_1") -> set[str]:
    ids = set()
    for _ in range(count):
        reservation = await ledger.reserve(request(grant(organization_id)))
        assert isinstance(reservation, Reservation)
        await ledger.settle(reservation, event(reservation))
        ids.add(reservation.call_id)
    return ids


def delivered(broker: MemoryBroker) -> list[str]:
    return [element["id"] for message in broker.messages for element in json.loads(message)]


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_events_of_several_shards_share_a_message() -> None:
    outbox, broker = MemoryOutbox(), MemoryBroker()
    ledger = MemoryLedger(outbox)
    ids = await settle_some(ledger, 3, "org_1") | await settle_some(ledger, 2, "org_2")
    shards = [shard_of("org_1"), shard_of("org_2")]
    published = await publish(outbox, broker, shards, limit=10)
    assert (published.count, published.unfinished, len(broker.messages)) == (5, frozenset(), 1)
    assert set(delivered(broker)) == ids
    assert (await publish(outbox, broker, shards, limit=10)).count == 0


async def test_a_large_batch_is_cut_into_messages_of_bounded_size() -> None:
    outbox, broker = MemoryOutbox(), MemoryBroker()
    ids = await settle_some(MemoryLedger(outbox), EVENTS_PER_MESSAGE + 1)
    published = await publish(outbox, broker, [shard_of("org_1")], limit=EVENTS_PER_MESSAGE + 1)
    assert published.unfinished == {shard_of("org_1")}
    assert len(broker.messages) == 2
    assert set(delivered(broker)) == ids


async def test_an_unconfirmed_batch_stays_in_the_outbox() -> None:
    outbox, broker = MemoryOutbox(), MemoryBroker(is_down=True)
    ids = await settle_some(MemoryLedger(outbox), 3)
    with pytest.raises(BrokerUnavailableError):
        await publish(outbox, broker, [shard_of("org_1")], limit=10)
    broker.is_down = False
    await publish(outbox, broker, [shard_of("org_1")], limit=10)
    assert set(delivered(broker)) == ids


async def test_own_events_leave_long_before_the_next_sweep() -> None:
    outbox, broker, dirty = MemoryOutbox(), MemoryBroker(), DirtyShards()
    drain = Drain(outbox, broker, dirty, batch_seconds=0.01, sweep_seconds=3600)
    async with running(drain):
        await asyncio.sleep(0.05)
        ids = await settle_some(MemoryLedger(outbox, on_settled=dirty.mark), 20)
        await eventually(lambda: len(delivered(broker)) == 20)
    assert set(delivered(broker)) == ids
    assert drain.published_total == 20


async def test_the_sweep_finds_what_another_replica_left() -> None:
    outbox, broker = MemoryOutbox(), MemoryBroker()
    async with running(Drain(outbox, broker, DirtyShards(), sweep_seconds=0.02)):
        await asyncio.sleep(0.05)
        ids = await settle_some(MemoryLedger(outbox), 3)
        await eventually(lambda: len(delivered(broker)) == 3)
    assert set(delivered(broker)) == ids


async def test_a_broker_that_comes_back_gets_everything_once() -> None:
    outbox, broker, dirty = MemoryOutbox(), MemoryBroker(is_down=True), DirtyShards()
    drain = Drain(outbox, broker, dirty, batch_seconds=0.01, sweep_seconds=3600)
    async with running(drain):
        ids = await settle_some(MemoryLedger(outbox, on_settled=dirty.mark), 5)
        await eventually(lambda: drain.is_backing_off)
        broker.is_down = False
        await eventually(lambda: len(delivered(broker)) == 5)
    assert sorted(delivered(broker)) == sorted(ids)
    assert not drain.is_backing_off

"""A Redis Cluster of two nodes whose slots move, and a node that dies: calls find their way or fail at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest
import redis

from contracts.topology import SHARD_COUNT, shard_of
from router.ledger.connection import RedisAddress
from router.ledger.pipeline import SLOT_COUNT, ScriptPipeline, slot_of_shard
from router.ledger.redis_ledger import RedisLedger
from router.ports import LedgerUnavailableError, Reservation, SettleOutcome
from tern.stack.process import Part, accepts_connections, free_port, spawn
from tests.ledger.calls import event, grant, request
from tests.parts.servers import folder

HALF = SLOT_COUNT // 2


class Node:
    def __init__(self, stack: ExitStack) -> None:
        self.port, self.bus_port = free_port(), free_port()
        directory = stack.enter_context(folder("cluster"))
        argv = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--dir", directory, "--save", ""]
        argv += [
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            str(self.bus_port),
            "--cluster-node-timeout",
            "2000",
        ]
        argv += ["--cluster-require-full-coverage", "no"]
        self.part: Part = spawn("redis", argv, directory)
        stack.callback(self.part.stop)
        self.part.wait_ready(lambda: accepts_connections(self.port), 15)
        self.client = stack.enter_context(redis.Redis(port=self.port, decode_responses=True))

    def cluster(self, *command: str | int) -> str:
        return str(self.client.execute_command("CLUSTER", *command))

    def sees_every_slot(self) -> bool:
        info = self.client.execute_command("CLUSTER INFO")
        return (info["cluster_slots_assigned"], info["cluster_state"]) == (str(SLOT_COUNT), "ok")


@pytest.fixture
def nodes() -> Iterator[tuple[Node, Node]]:
    """The first owns the lower half of the slots, the second the upper."""
    with ExitStack() as stack:
        first, second = Node(stack), Node(stack)
        first.cluster("ADDSLOTSRANGE", 0, HALF - 1)
        second.cluster("ADDSLOTSRANGE", HALF, SLOT_COUNT - 1)
        second.cluster("SET-CONFIG-EPOCH", 2)
        first.cluster("MEET", "127.0.0.1", second.port, second.bus_port)
        for node in (first, second):
            node.part.wait_ready(node.sees_every_slot, 20)
        yield first, second


@pytest.fixture
async def ledger(nodes: tuple[Node, Node]) -> AsyncIterator[RedisLedger]:
    pipeline = ScriptPipeline(RedisAddress(port=nodes[0].port), cluster=True)
    yield RedisLedger(pipeline)
    await pipeline.close()


def organization_of(lower: bool) -> str:
    """One whose shard lives on the first or on the second node."""
    names = (f"org_{number}" for number in range(10 * SHARD_COUNT))
    return next(name for name in names if (slot_of_shard(shard_of(name)) < HALF) == lower)


async def reserved(ledger: RedisLedger, organization_id: str) -> Reservation:
    verdict = await ledger.reserve(request(grant(organization_id)))
    assert isinstance(verdict, Reservation)
    return verdict


async def test_each_shard_is_asked_where_it_lives(nodes: tuple[Node, Node], ledger: RedisLedger) -> None:
    for lower in (True, False):
        reservation = await reserved(ledger, organization_of(lower))
        assert await ledger.settle(reservation, event(reservation)) is SettleOutcome.SETTLED
    assert all(node.client.keys("*:level:*") for node in nodes)


async def test_a_moved_slot_is_followed(nodes: tuple[Node, Node], ledger: RedisLedger) -> None:
    await reserved(ledger, organization_of(lower=True))
    old, new = nodes
    organization_id = organization_of(lower=True)
    slot = slot_of_shard(shard_of(organization_id))
    for key in old.client.execute_command("CLUSTER GETKEYSINSLOT", slot, 100):
        old.client.delete(key)
    for node in (new, old):
        node.cluster("SETSLOT", slot, "NODE", new.cluster("MYID"))
    verdicts = await asyncio.gather(*(reserved(ledger, organization_id) for _ in range(20)))
    assert len(verdicts) == 20
    assert new.client.execute_command("CLUSTER COUNTKEYSINSLOT", slot) > 0


@pytest.mark.faults
async def test_a_dead_node_costs_only_its_own_shards(nodes: tuple[Node, Node], ledger: RedisLedger) -> None:
    lower, upper = organization_of(lower=True), organization_of(lower=False)
    await reserved(ledger, lower)
    await reserved(ledger, upper)
    nodes[1].part.kill()
    await asyncio.sleep(0.2)
    began_at = time.monotonic()
    for _ in range(20):
        with pytest.raises(LedgerUnavailableError):
            await reserved(ledger, upper)
        await reserved(ledger, lower)
    assert time.monotonic() - began_at < 1.0, "nobody waits for a dead node"

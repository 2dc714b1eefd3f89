"""Redis is down, hangs, restarts or forgets its scripts: no call hangs, and nothing is charged twice."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from router.ledger.connection import RedisAddress
from router.ledger.pipeline import ScriptPipeline
from router.ledger.redis_ledger import RedisLedger
from router.ports import LedgerUnavailableError, Reservation, SettleOutcome
from tern.stack.process import Part, free_port
from tests.ledger.calls import event, grant, request
from tests.parts.servers import folder, start_redis

TIMEOUT_SECONDS = 0.5


class Server:
    """A Redis with AOF that a test may kill, stop and start again."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.address = RedisAddress(port=self.port)
        self._directory = directory
        self.part: Part = self.start()

    def start(self) -> Part:
        self.part = start_redis(self._directory, self.port, append_only=True)
        return self.part


@pytest.fixture
def server() -> Iterator[Server]:
    with folder("redis") as directory:
        server = Server(directory)
        yield server
        server.part.stop()


@pytest.fixture
async def ledger(server: Server) -> AsyncIterator[RedisLedger]:
    pipeline = ScriptPipeline(server.address, timeout_seconds=TIMEOUT_SECONDS)
    yield RedisLedger(pipeline)
    await pipeline.close()


async def reserved(ledger: RedisLedger) -> Reservation:
    reservation = await ledger.reserve(request(grant()))
    assert isinstance(reservation, Reservation)
    return reservation


async def answers_again(ledger: RedisLedger) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                await ledger.balances(grant())
            except LedgerUnavailableError:
                await asyncio.sleep(0.02)
            else:
                return


async def test_an_absent_redis_is_noticed_at_once() -> None:
    pipeline = ScriptPipeline(RedisAddress(port=free_port()))
    with pytest.raises(LedgerUnavailableError):
        await RedisLedger(pipeline).reserve(request(grant()))
    await pipeline.close()


@pytest.mark.faults
async def test_a_hanging_redis_costs_one_timeout_and_then_nothing(server: Server, ledger: RedisLedger) -> None:
    await reserved(ledger)
    server.part.process.send_signal(signal.SIGSTOP)
    try:
        waiting = [ledger.reserve(request(grant())) for _ in range(100)]
        began_at = time.monotonic()
        verdicts = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(verdict) for verdict in verdicts} == {LedgerUnavailableError}
        assert time.monotonic() - began_at < 2 * TIMEOUT_SECONDS + 0.5
        began_at = time.monotonic()
        for _ in range(100):
            with pytest.raises(LedgerUnavailableError):
                await ledger.reserve(request(grant()))
        assert time.monotonic() - began_at < TIMEOUT_SECONDS, "the breaker is open: nobody waits"
    finally:
        server.part.process.send_signal(signal.SIGCONT)
    await answers_again(ledger)
    await reserved(ledger)


@pytest.mark.faults
async def test_a_killed_redis_with_its_log_on_disk_loses_no_money(server: Server, ledger: RedisLedger) -> None:
    settled, open_still = await reserved(ledger), await reserved(ledger)
    await ledger.settle(settled, event(settled))
    await asyncio.sleep(1.2)  # the append-only file reaches the disk once a second
    server.part.kill()
    with pytest.raises(LedgerUnavailableError):
        for _ in range(100):
            await ledger.settle(open_still, event(open_still))
            await asyncio.sleep(0.01)
    await asyncio.to_thread(server.start)
    await answers_again(ledger)
    assert await ledger.settle(settled, event(settled)) is SettleOutcome.ALREADY
    assert await ledger.settle(open_still, event(open_still)) is SettleOutcome.SETTLED
    organization, *_ = await ledger.balances(grant())
    assert (organization.spent_nano_usd["all"], organization.held_nano_usd["all"]) == (14_000, 14_000)
    assert organization.slots == 0


async def test_forgotten_scripts_are_loaded_again(server: Server, ledger: RedisLedger) -> None:
    await reserved(ledger)
    with redis.Redis(port=server.port) as client:
        client.script_flush()
    verdicts = await asyncio.gather(*(ledger.reserve(request(grant())) for _ in range(50)))
    assert all(isinstance(verdict, Reservation) for verdict in verdicts)


async def test_a_node_that_became_a_replica_is_left_and_tried_again(server: Server, ledger: RedisLedger) -> None:
    await reserved(ledger)
    with redis.Redis(port=server.port) as client:
        before = {connection["id"] for connection in client.client_list() if connection["cmd"] == "evalsha"}
        client.replicaof("127.0.0.1", free_port())
        with pytest.raises(LedgerUnavailableError):
            await reserved(ledger)
        assert before
        async with asyncio.timeout(5):  # the connection is left, and a new one will be tried
            while before & {connection["id"] for connection in client.client_list()}:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        client.replicaof("NO", "ONE")
    await answers_again(ledger)
    await reserved(ledger)


async def test_a_caller_that_gave_up_does_not_shift_the_replies_of_others(
    server: Server, ledger: RedisLedger
) -> None:
    await reserved(ledger)
    calls = [asyncio.ensure_future(ledger.reserve(request(grant(), amount=amount))) for amount in range(20)]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    for amount, call in list(enumerate(calls))[1::2]:
        reservation = await call
        assert isinstance(reservation, Reservation)
        assert reservation.reserved_nano_usd == amount


async def test_a_wrong_password_is_told() -> None:
    with folder("redis") as directory, ExitStack() as started:
        started.callback(start_redis(directory, port := free_port()).stop)
        with redis.Redis(port=port) as client:
            client.config_set("requirepass", "secret")
        for url, works in (
            (f"redis://:wrong@127.0.0.1:{port}", False),
            (f"redis://:secret@127.0.0.1:{port}/1", True),
        ):
            pipeline = ScriptPipeline(RedisAddress.from_url(url))
            try:
                await RedisLedger(pipeline).reserve(request(grant()))
                assert works
            except LedgerUnavailableError:
                assert not works
            await pipeline.close()


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://cache", RedisAddress(host="cache")),
        ("redis://u:p%40@h:7000/3", RedisAddress("h", 7000, None, "u", "p@", 3)),
        ("rediss://h", RedisAddress(host="h", tls=True)),
        ("unix:///run/redis.sock", RedisAddress(path="/run/redis.sock")),
    ],
)
def test_an_address_is_read_from_its_url(url: str, address: RedisAddress) -> None:
    assert RedisAddress.from_url(url) == address


def test_a_foreign_url_is_refused() -> None:
    with pytest.raises(ValueError, match="redis://"):
        RedisAddress.from_url("http://cache")

"""Whatever dies, and whenever: every event is counted, and counted once."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from psycopg import sql

from analytics.deliveries import DeadLetter, Delivery, Source
from analytics.errors import SourceUnavailableError
from analytics.worker import Worker
from tern.stack.process import Part, free_port, spawn
from tests.analytics.arrivals import connected_outbox, connected_rabbit
from tests.parts.servers import folder, start_rabbitmq, start_redis

ROOT = Path(__file__).parents[2]


class DiesBeforeAcknowledging:
    """A source that loses its server just when the worker, having committed, wants to acknowledge."""

    def __init__(self, origin: Source, deaths: int) -> None:
        self._origin = origin
        self.deaths_left = deaths

    async def open(self) -> None:
        await self._origin.open()

    async def close(self) -> None:
        await self._origin.close()

    async def take(self, limit_events: int, wait_seconds: float) -> list[Delivery]:
        return await self._origin.take(limit_events, wait_seconds)

    async def bury(self, letters: list[DeadLetter]) -> None:
        await self._origin.bury(letters)

    async def done(self, deliveries: list[Delivery]) -> None:
        if self.deaths_left:
            self.deaths_left -= 1
            raise SourceUnavailableError("died between commit and acknowledgement")
        await self._origin.done(deliveries)


async def test_a_death_between_commit_and_acknowledgement_counts_nothing_twice(
    arrival: Any, make_event: Any, make_settings: Any, encoded: Any, working: Any, books: Any, eventually: Any
) -> None:
    await arrival.send(encoded([make_event() for _ in range(30)]))
    source = DiesBeforeAcknowledging(arrival.source(), deaths=3)
    async with working(Worker(make_settings(**arrival.settings), source=source)) as worker:
        await eventually(lambda: source.deaths_left == 0)
        await eventually(lambda: worker.metrics.duplicates._value.get() >= 30)
    assert books.total()["requests"] == 30
    assert books.total("usage_minute") == books.total()
    assert await arrival.left() == 0


def _start_worker(directory: Path, settings: dict[str, Any]) -> Part:
    env = {name: value for name, value in os.environ.items() if not name.startswith("TERN_")}
    env |= {f"TERN_ANALYTICS_{name.upper()}": str(value) for name, value in settings.items()}
    env["PYTHONPATH"] = str(ROOT)
    return spawn("worker", [sys.executable, "-m", "analytics", "worker"], directory, env=env)


def _process_settings(database_url: str, arrival: Any) -> dict[str, Any]:
    return arrival.settings | {
        "database_url": database_url,
        "service_token": "t",
        "org_service_url": "http://127.0.0.1:9",
        "org_service_token": "t",
        "worker_listen_port": free_port(),
        "batch_events": 40,
        "prefetch_messages": 2,
        "poll_seconds": 0.1,
        "claim_after_seconds": 0.5,
    }


@contextmanager
def _held_up_at(database_url: str, count: int) -> Iterator[None]:
    """Whoever wants to record more than `count` events waits in the middle of its transaction until the end."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            f"""CREATE FUNCTION hold_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF (SELECT count(*) FROM usage_events) >= {count} THEN PERFORM pg_advisory_xact_lock(1); END IF;
            RETURN NULL; END $$"""
        )
        connection.execute("CREATE TRIGGER held_up BEFORE INSERT ON usage_events EXECUTE FUNCTION hold_up()")
        connection.execute("SELECT pg_advisory_lock(1)")
        yield


@pytest.mark.faults
async def test_a_worker_killed_in_the_middle_of_its_work_loses_and_doubles_nothing(
    arrival: Any, make_event: Any, usage_database_url: str, encoded: Any, books: Any, eventually: Any
) -> None:
    events = [make_event(owner_id=f"user_{n % 5}", cost_nano_usd=n + 1) for n in range(3000)]
    for start in range(0, len(events), 20):
        await arrival.send(encoded(events[start : start + 20]))
    with folder("worker") as directory, ExitStack() as started:

        def start() -> Part:
            worker = _start_worker(directory, _process_settings(usage_database_url, arrival))
            started.callback(worker.stop)
            return worker

        with _held_up_at(usage_database_url, 2000):
            for count in (150, 900, 2000):
                worker = start()
                await eventually(lambda enough=count: books.total()["requests"] >= enough)
                worker.kill()
        last = start()
        await eventually(lambda: books.total()["requests"] >= len(events), timeout_seconds=60)
        last.stop()
        assert last.process.returncode == 0, last.log_tail()
    expected = sum(event.cost_nano_usd for event in events)
    for table in ("usage_events", "usage_minute", "usage_hour", "usage_day"):
        assert books.total(table)["cost_nano_usd"] == expected
    assert await arrival.left() == 0


async def test_a_worker_process_says_whether_it_is_ready_and_how_far_behind(
    outbox: Any, make_event: Any, usage_database_url: str, encoded: Any, books: Any, eventually: Any
) -> None:
    settings = _process_settings(usage_database_url, outbox)
    await outbox.send(encoded([make_event()]))
    with folder("worker") as directory, ExitStack() as started:
        worker = _start_worker(directory, settings)
        started.callback(worker.stop)
        await eventually(lambda: books.total()["requests"] == 1)
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{settings['worker_listen_port']}") as client:
            assert (await client.get("/health")).status_code == 200
            assert (await client.get("/ready")).json() == {"status": "ready"}
            text = (await client.get("/metrics")).text
        worker.stop()
        log = [json.loads(line) for line in worker.log_path.read_text().splitlines()]
    assert "tern_analytics_record_events_total 1.0" in text
    assert "tern_analytics_record_lag_seconds_count 1.0" in text
    assert "tern_analytics_consume_connected 1.0" in text
    assert [line["event"] for line in log if line["service"] == "analytics"]


async def test_events_wait_while_the_database_is_away_and_none_is_put_aside(
    arrival: Any, make_event: Any, make_settings: Any, encoded: Any, working: Any, books: Any, eventually: Any,
    postgres_server_url: str, usage_database_url: str,
) -> None:  # fmt: skip
    name = usage_database_url.rpartition("/")[2]
    async with working(Worker(make_settings(**arrival.settings, database_timeout_seconds=0.5))) as worker:
        await eventually(lambda: worker.ready)
        with psycopg.connect(postgres_server_url, autocommit=True) as admin:
            _allow_connections(admin, name, False)
            await arrival.send(encoded([make_event() for _ in range(20)]))
            await eventually(lambda: worker.metrics.faults.labels("database")._value.get() >= 2)
            assert not worker.ready
            _allow_connections(admin, name, True)
        await eventually(lambda: worker.metrics.recorded._value.get() == 20)
    books.reconnect()
    assert books.total()["requests"] == 20
    assert await arrival.dead() == []
    assert await arrival.left() == 0


def _allow_connections(admin: psycopg.Connection[Any], name: str, allowed: bool) -> None:
    admin.execute(
        sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS {}").format(sql.Identifier(name), sql.SQL(str(allowed)))
    )
    if not allowed:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))


async def _published(send: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                return await send()
            except Exception:  # noqa: BLE001 - whatever a restarting server answers
                await asyncio.sleep(0.2)


@pytest.mark.faults
async def test_a_worker_comes_back_by_itself_after_its_broker_was_killed(
    make_event: Any, make_settings: Any, encoded: Any, working: Any, books: Any, eventually: Any
) -> None:
    with folder("rabbitmq") as directory:
        port = free_port()
        url = f"amqp://guest:guest@127.0.0.1:{port}/"
        broker = start_rabbitmq(directory, port)
        try:
            async with connected_rabbit(url) as rabbit:
                await rabbit.send(encoded([make_event() for _ in range(10)]))
            # A broker forgets the members of a quorum queue that was created a moment before its SIGKILL.
            broker.stop(grace_seconds=30)
            broker = start_rabbitmq(directory, port)
            async with working(Worker(make_settings(amqp_url=url))) as worker:
                await eventually(lambda: books.total()["requests"] == 10)
                broker.kill()
                await eventually(lambda: not worker.ready)
                broker.stop()
                broker = start_rabbitmq(directory, port)
                async with connected_rabbit(url, clean=False) as rabbit:
                    await _published(lambda: rabbit.send(encoded([make_event() for _ in range(10)])))
                await eventually(lambda: books.total()["requests"] == 20, timeout_seconds=60)
        finally:
            broker.stop()


@pytest.mark.faults
async def test_a_worker_comes_back_by_itself_after_the_outbox_server_was_killed(
    make_event: Any, make_settings: Any, encoded: Any, working: Any, books: Any, eventually: Any
) -> None:
    with folder("redis") as directory:
        port = free_port()
        url = f"redis://127.0.0.1:{port}/0"
        server = start_redis(directory, port, append_only=True)
        try:
            async with working(Worker(make_settings(redis_url=url))) as worker:
                async with connected_outbox(url) as outbox:
                    await outbox.send(encoded([make_event() for _ in range(10)]))
                await eventually(lambda: books.total()["requests"] == 10)
                server.kill()
                await eventually(lambda: not worker.ready)
                server = start_redis(directory, port, append_only=True)
                async with connected_outbox(url) as outbox:
                    await outbox.send(encoded([make_event() for _ in range(10)]))
                await eventually(lambda: books.total()["requests"] == 20)
        finally:
            server.stop()


@pytest.mark.faults
async def test_a_message_that_kills_every_reader_ends_in_the_dead_letter_queue(
    rabbit: Any, make_event: Any, encoded: Any, eventually: Any
) -> None:
    """The broker's own dead-lettering, after the delivery limit."""
    await rabbit.send(encoded([make_event()]))
    deliveries = 0
    source = rabbit.source()
    async with asyncio.timeout(60):
        while True:
            await source.open()
            taken = await source.take(1, 1.0)
            await source.close()
            if not taken:
                break
            deliveries += 1
    assert 20 <= deliveries <= 22
    ((body, reason),) = await rabbit.dead()
    assert b"call-" in body
    assert "delivery_limit" in reason

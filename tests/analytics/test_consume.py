"""From a delivery to rows: each event once, poison aside with its reason, and only then the acknowledgement."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from analytics.worker import Worker
from contracts.usage_event import correction


async def test_every_event_is_recorded_and_nothing_is_left(
    arrival: Any, make_event: Any, make_settings: Any, encoded: Any, working: Any, books: Any, eventually: Any
) -> None:
    events = [make_event() for _ in range(150)]
    async with working(Worker(make_settings(**arrival.settings))):
        await arrival.send(encoded(events))
        await eventually(lambda: books.total()["requests"] == 150)
    assert await arrival.left() == 0
    for table in ("usage_minute", "usage_hour", "usage_day"):
        assert books.total(table) == books.total()


async def test_an_event_that_comes_twice_counts_once(
    arrival: Any, make_event: Any, make_settings: Any, encoded: Any, working: Any, books: Any, eventually: Any
) -> None:
    event, other = make_event(), make_event()
    async with working(Worker(make_settings(**arrival.settings))) as worker:
        await arrival.send(encoded([event, event]))
        await arrival.send(encoded([event, other]))
        await eventually(lambda: worker.metrics.recorded._value.get() == 2)
        await eventually(lambda: worker.metrics.duplicates._value.get() == 2)
    for table in ("usage_events", "usage_minute", "usage_hour", "usage_day"):
        assert books.total(table)["cost_nano_usd"] == 2000
    assert await arrival.left() == 0


async def test_poison_is_put_aside_with_its_reason_and_its_neighbours_are_recorded(
    arrival: Any, make_event: Any, make_settings: Any, encoded: Any, working: Any, books: Any, eventually: Any
) -> None:
    now = datetime.now(UTC)
    poison = {
        "no event": b'{"hello":"there"}',
        "too late": encoded([make_event(occurred_at=now - timedelta(days=35, minutes=1))])[0],
        "too early": encoded([make_event(occurred_at=now + timedelta(minutes=6))])[0],
        "NUL": encoded([make_event(project_id="a\x00b")])[0],
        "huge": encoded([make_event(cost_nano_usd=2**70)])[0],
    }
    good = encoded([make_event() for _ in range(4)])
    async with working(Worker(make_settings(**arrival.settings))) as worker:
        await arrival.send([good[0], *poison.values(), *good[1:]])
        await eventually(lambda: worker.metrics.dead_lettered._value.get() == len(poison))
        await eventually(lambda: books.total()["requests"] == 4)
    assert await arrival.left() == 0
    letters = await arrival.dead()
    assert len(letters) == len(poison)
    reasons = " | ".join(reason for _, reason in letters)
    for part in ("malformed", "35 days ago", "in the future", "refused by the database", "too large"):
        assert part in reasons
    assert {json.dumps(json.loads(raw)) for raw, _ in letters} == {
        json.dumps(json.loads(raw)) for raw in poison.values()
    }


async def test_an_event_of_35_days_ago_is_recorded_in_its_own_time(
    arrival: Any, make_event: Any, make_settings: Any, encoded: Any, working: Any, books: Any, eventually: Any
) -> None:
    late = datetime.now(UTC) - timedelta(days=34, hours=23)
    async with working(Worker(make_settings(**arrival.settings))):
        await arrival.send(encoded([make_event(occurred_at=late)]))
        await eventually(lambda: books.total()["requests"] == 1)
    (row,) = books.ask("SELECT bucket_at, requests FROM usage_day")
    assert row["bucket_at"] == late.replace(hour=0, minute=0, second=0, microsecond=0)


async def test_a_correction_adds_the_difference_and_no_request(
    arrival: Any, make_event: Any, make_settings: Any, encoded: Any, working: Any, books: Any, eventually: Any
) -> None:
    reaped = make_event(event_id="call", cost_nano_usd=400, cost_input_nano_usd=400, usage_source="reaped")
    settled = reaped.model_copy(update={"cost_nano_usd": 900, "cost_input_nano_usd": 350})
    difference = correction(settled, reaped)
    async with working(Worker(make_settings(**arrival.settings))):
        await arrival.send(encoded([difference, reaped, difference]))
        await eventually(lambda: books.total()["cost_nano_usd"] == 900)
    assert books.total("usage_day")["requests"] == 1
    (row,) = books.ask("SELECT cost_input_nano_usd FROM usage_day")
    assert row["cost_input_nano_usd"] == 350


async def test_an_event_is_visible_within_two_seconds_of_its_call(
    arrival: Any, make_event: Any, make_settings: Any, encoded: Any, working: Any, books: Any, eventually: Any
) -> None:
    """Through a worker with its default waits, while nothing else goes on; the suite's limit is the promise."""
    defaults = make_settings(**arrival.settings, poll_seconds=1.0, retry_seconds=1.0)
    async with working(Worker(defaults)) as worker:
        await eventually(lambda: worker.ready)
        await asyncio.sleep(0.3)
        await arrival.send(encoded([make_event()]))
        await eventually(lambda: books.total("usage_day")["requests"] == 1, timeout_seconds=2.0)


@pytest.mark.parametrize("size", [1, 7])
async def test_a_small_batch_limit_loses_nothing(
    arrival: Any, make_event: Any, make_settings: Any, encoded: Any, working: Any, books: Any, eventually: Any,
    size: int,
) -> None:  # fmt: skip
    async with working(Worker(make_settings(**arrival.settings, batch_events=size, prefetch_messages=1))):
        for _ in range(5):
            await arrival.send(encoded([make_event() for _ in range(10)]))
        await eventually(lambda: books.total()["requests"] == 50)
    assert await arrival.left() == 0


async def test_two_workers_share_the_work_and_count_once(
    arrival: Any, make_event: Any, make_settings: Any, encoded: Any, working: Any, books: Any, eventually: Any
) -> None:
    first = Worker(make_settings(**arrival.settings, worker_name="w1", prefetch_messages=2, batch_events=20))
    second = Worker(make_settings(**arrival.settings, worker_name="w2", prefetch_messages=2, batch_events=20))
    async with working(first), working(second):
        for _ in range(20):
            await arrival.send(encoded([make_event(owner_id=f"user_{n % 7}") for n in range(30)]))
        await eventually(lambda: books.total()["requests"] == 600)
    assert books.total("usage_minute") == books.total()
    assert await arrival.left() == 0

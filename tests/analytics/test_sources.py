"""One suite for both ways in which events arrive, so that the worker cannot tell them apart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from analytics.deliveries import DeadLetter, Delivery, Source
from analytics.errors import SourceUnavailableError
from analytics.outbox_source import OutboxSource
from analytics.rabbit_source import RabbitSource
from contracts.usage_event import MalformedEventError, UsageEvent


@asynccontextmanager
async def opened(source: Source) -> AsyncIterator[Source]:
    await source.open()
    try:
        yield source
    finally:
        await source.close()


async def take(source: Source, count: int, limit: int = 1000) -> list[Delivery]:
    """Take until `count` events are there."""
    taken: list[Delivery] = []
    async with asyncio.timeout(20):
        while sum(len(delivery.decoded) for delivery in taken) < count:
            taken += await source.take(limit, 0.2)
    return taken


def ids(taken: list[Delivery]) -> list[str]:
    outcomes = [decoded.outcome for delivery in taken for decoded in delivery.decoded]
    return sorted(outcome.event_id for outcome in outcomes if isinstance(outcome, UsageEvent))


async def test_events_arrive_as_they_were_sent(arrival: Any, make_event: Any, encoded: Any) -> None:
    events = [make_event() for _ in range(5)]
    async with opened(arrival.source()) as source:
        await arrival.send(encoded(events))
        taken = await take(source, 5)
        outcomes = [decoded.outcome for delivery in taken for decoded in delivery.decoded]
        assert sorted(outcomes, key=lambda event: event.event_id) == events
        await source.done(taken)


async def test_what_was_sent_before_anybody_listened_arrives(arrival: Any, make_event: Any, encoded: Any) -> None:
    await arrival.send(encoded([make_event()]))
    async with opened(arrival.source()) as source:
        assert len(await take(source, 1)) == 1


async def test_done_is_never_seen_again_and_leaves_nothing(arrival: Any, make_event: Any, encoded: Any) -> None:
    async with opened(arrival.source()) as source:
        await arrival.send(encoded([make_event() for _ in range(3)]))
        await source.done(await take(source, 3))
    async with opened(arrival.source()) as source:
        assert await source.take(10, 0.5) == []
    assert await arrival.left() == 0


async def test_what_was_taken_and_not_done_comes_again_after_reopening(
    arrival: Any, make_event: Any, encoded: Any
) -> None:
    events = [make_event() for _ in range(3)]
    source = arrival.source()
    async with opened(source):
        await arrival.send(encoded(events))
        await take(source, 3)
    async with opened(source):
        again = await take(source, 3)
        assert ids(again) == [event.event_id for event in events]
        await source.done(again)


async def test_what_a_dead_reader_took_comes_to_another(arrival: Any, make_event: Any, encoded: Any) -> None:
    events = [make_event() for _ in range(70)]
    async with opened(arrival.source("dead")) as dead:
        await arrival.send(encoded(events))
        await take(dead, 70)
    async with opened(arrival.source("alive")) as alive:
        again = await take(alive, 70)
        assert ids(again) == [event.event_id for event in events]
        await alive.done(again)
    assert await arrival.left() == 0


async def test_a_malformed_event_arrives_beside_its_neighbours(
    arrival: Any, make_event: Any, encoded: Any
) -> None:
    good = [make_event(), make_event()]
    first, second = encoded(good)
    poison = json.dumps({"type": "tern.usage.v1", "data": {"cost": "much"}}).encode()
    async with opened(arrival.source()) as source:
        await arrival.send([first, poison, second])
        taken = await take(source, 3)
        assert ids(taken) == [event.event_id for event in good]
        bad = [
            decoded
            for delivery in taken
            for decoded in delivery.decoded
            if isinstance(decoded.outcome, MalformedEventError)
        ]
        assert [json.loads(decoded.raw) for decoded in bad] == [json.loads(poison)]


async def test_a_buried_letter_is_in_the_dead_letter_queue_with_its_reason(
    arrival: Any, make_event: Any, encoded: Any
) -> None:
    async with opened(arrival.source()) as source:
        await arrival.send(encoded([make_event()]))
        (delivery,) = await take(source, 1)
        await source.bury([DeadLetter(delivery.receipt, b'{"a":1}', "no good: " + "x" * 5000)])
        ((raw, reason),) = await arrival.dead()
        assert raw == b'{"a":1}'
        assert reason.startswith("no good")
        await source.done([delivery])


async def test_nothing_to_take_returns_after_the_wait(arrival: Any) -> None:
    async with opened(arrival.source()) as source:
        assert await source.take(10, 0.05) == []


@pytest.mark.parametrize("method", ["bury", "done"])
async def test_a_source_that_is_closed_says_so(arrival: Any, make_event: Any, encoded: Any, method: str) -> None:
    source = arrival.source()
    async with opened(source):
        await arrival.send(encoded([make_event()]))
        (delivery,) = await take(source, 1)
    with pytest.raises(SourceUnavailableError):
        if method == "done":
            await source.done([delivery])
        else:
            await source.bury([DeadLetter(delivery.receipt, b"{}", "reason")])


@pytest.mark.parametrize("address", ["amqp://guest:guest@127.0.0.1:9/", "redis://127.0.0.1:9/0"])
async def test_a_server_that_is_not_there_is_one_error(address: str) -> None:
    source: Source = RabbitSource(address, 1) if address.startswith("amqp") else OutboxSource(address, 1.0)
    with pytest.raises(SourceUnavailableError):
        await source.open()
    await source.close()


@pytest.mark.parametrize(
    "body", [b"not json", b"{}", b"\xff\xfe", b"[" * 100_000], ids=["text", "object", "bytes", "deep"]
)
async def test_a_message_that_is_no_batch_is_one_malformed_element(rabbit: Any, body: bytes) -> None:
    async with opened(rabbit.source()) as source:
        await rabbit.send_body(body)
        (delivery,) = await take(source, 1)
        (decoded,) = delivery.decoded
        assert isinstance(decoded.outcome, MalformedEventError)
        assert decoded.raw == body


async def test_a_settlement_of_a_reaped_call_leaves_the_outbox_as_its_correction(
    outbox: Any, make_event: Any, encoded: Any
) -> None:
    settled = make_event(event_id="call", cost_nano_usd=900, tokens={"input": 10, "output": 7})
    reaped = make_event(event_id="call", cost_nano_usd=400, tokens={"input": 10, "output": 2})
    event, before = encoded([settled, reaped])
    async with opened(outbox.source()) as source:
        await outbox.append(3, {"event": event, "before": before})
        ((decoded,),) = [delivery.decoded for delivery in await take(source, 1)]
        outcome = decoded.outcome
        assert isinstance(outcome, UsageEvent)
        assert (outcome.event_id, outcome.corrects) == ("call.correction", "call")
        assert (outcome.cost_nano_usd, outcome.tokens.output, outcome.requests) == (500, 5, 0)


async def test_a_letter_that_no_queue_would_keep_is_not_taken_for_buried(
    rabbit: Any, make_event: Any, encoded: Any
) -> None:
    source = rabbit.source()
    async with opened(source):
        await rabbit.send(encoded([make_event()]))
        (delivery,) = await take(source, 1)
        await rabbit.delete_dead_letter_queue()
        with pytest.raises(SourceUnavailableError):
            await source.bury([DeadLetter(delivery.receipt, b"{}", "reason")])
    async with opened(source):
        assert len(await take(source, 1)) == 1


async def test_a_queue_that_vanishes_under_its_consumer_is_noticed_and_made_anew(
    rabbit: Any, make_event: Any, encoded: Any
) -> None:
    """A cancelled consumer would otherwise wait for ever on a healthy connection."""
    source = rabbit.source()
    async with opened(source):
        await rabbit.delete_usage_queue()
        with pytest.raises(SourceUnavailableError):
            await source.take(1, 10.0)
    async with opened(source):
        await rabbit.send(encoded([make_event()]))
        await source.done(await take(source, 1))

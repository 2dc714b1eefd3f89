"""A client that goes away, at every moment: the upstream is stopped within a second, what it sent is what is
billed, and nothing stays reserved (the fixture looks after each test)."""

from __future__ import annotations

import asyncio
import json
import random
import time
from typing import Any
from urllib.parse import urlsplit

import pytest

from contracts.usage_event import CallStatus, UsageSource
from tests.router.conftest import MESSAGES, House

STOPPED_WITHIN_SECONDS = 1.0


class RawClient:
    """A client that can leave at any byte."""

    def __init__(self, house: House, traits: str, **fields: Any) -> None:
        model = f"model:{traits}"
        if model not in house.catalog.models:
            house.model(traits)
        body = json.dumps({"model": model, "messages": MESSAGES, **fields}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {house.key}\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        self.request = head.encode() + body
        self.head_size = len(head)
        self._port = urlsplit(house.url).port
        self.received = b""

    async def send(self, size: int | None = None) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writer.write(self.request[:size])
        await self._writer.drain()

    async def read_tokens(self, count: int) -> None:
        while self.received.count(b"word") < count:
            self.received += await self._reader.read(4096)

    def leave(self) -> None:
        self._writer.transport.abort()


async def test_a_client_that_leaves_before_its_body_costs_nothing(house: House) -> None:
    client = RawClient(house, "tokens-5")
    for size in (10, client.head_size, client.head_size + 5):
        await client.send(size)
        await asyncio.sleep(0.05)
        client.leave()
    await asyncio.sleep(0.1)
    assert house.upstream.calls == []
    assert await house.events() == []


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_before_the_first_byte_stops_the_upstream(house: House, stream: bool) -> None:
    client = RawClient(house, "hang", stream=stream)
    await client.send()
    await house.until(lambda: bool(house.upstream.calls))
    client.leave()
    left_at = time.monotonic()
    await house.until(lambda: house.upstream.calls[0].cancelled)
    assert time.monotonic() - left_at < STOPPED_WITHIN_SECONDS
    await house.at_rest()
    events = await house.events()
    assert [event.usage_source for event in events] == ([] if stream else ["estimated"])


async def test_a_cut_whole_call_is_billed_for_its_time_and_no_more_than_its_limit(house: House) -> None:
    client = RawClient(house, "hang", max_tokens=2)
    await client.send()
    await house.until(lambda: bool(house.upstream.calls))
    await asyncio.sleep(0.3)
    client.leave()
    await house.at_rest()
    [event] = await house.events()
    assert (event.status, event.usage_source, event.tokens.output) == (CallStatus.CANCELLED, "estimated", 2)
    assert 0 < event.tokens.input < len(client.request)


async def test_a_cut_stream_is_settled_once_at_what_the_upstream_sent(house: House) -> None:
    client = RawClient(house, "tokens-200+pace-5", stream=True)
    await client.send()
    await client.read_tokens(7)
    client.leave()
    left_at = time.monotonic()
    await house.until(lambda: house.upstream.calls[0].cancelled)
    assert time.monotonic() - left_at < STOPPED_WITHIN_SECONDS
    await house.at_rest()
    [event] = await house.events()
    assert (event.status, event.usage_source) == (CallStatus.CANCELLED, "reported")
    assert event.tokens.output == house.upstream.tokens_sent < 200


async def test_a_client_that_only_closes_its_half_is_gone_too(house: House) -> None:
    client = RawClient(house, "tokens-200+pace-5", stream=True)
    await client.send()
    await client.read_tokens(2)
    client._writer.close()
    await house.until(lambda: house.upstream.calls[0].cancelled)
    await house.at_rest()


async def test_every_cut_stream_is_metered_at_what_was_sent_for_it(house: House) -> None:
    chance = random.Random(20)

    async def one(number: int) -> None:
        client = RawClient(house, "tokens-40+pace-2", stream=True)
        await client.send()
        await client.read_tokens(chance.randrange(1, 30))
        client.leave()

    for _ in range(5):
        await asyncio.gather(*(one(number) for number in range(20)))
    await house.at_rest()
    events = await house.events()
    by_id = {call.request_id: call.tokens_sent for call in house.upstream.calls}
    assert sum(by_id.values()) > 0
    metered = {event.event_id: event.tokens.output for event in events}
    assert {call: (sent, metered.get(call)) for call, sent in by_id.items() if metered.get(call, 0) != sent} == {}


async def test_a_client_that_sets_its_own_deadline_pays_as_if_it_had_left(house: House) -> None:
    """Otherwise a header would make the upstream work for nothing."""
    reply = await house.post(
        {"model": house.model("tokens-100+pace-50"), "messages": MESSAGES},
        headers={"x-stainless-read-timeout": "1"},
    )
    assert (reply.status_code, reply.json()["error"]["code"]) == (504, "upstream_timeout")
    [event] = await house.events()
    assert (event.status, event.usage_source) == (CallStatus.CANCELLED, UsageSource.ESTIMATED)
    assert event.tokens.output > 0

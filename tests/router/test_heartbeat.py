"""One look over all open calls keeps each alive in the ledger, and ends what must not go on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from contracts.grant import LevelKind
from contracts.pricing import Tokens
from router.ledger.memory_ledger import MemoryLedger
from router.ports import ExtendOutcome, Reservation
from tests.router.conftest import MESSAGES, House
from tests.router.test_disconnect import RawClient
from tests.router.test_upstream_faults import frames


class RecordingLedger(MemoryLedger):
    """Remembers what was extended."""

    def seen(self) -> list[tuple[str, Tokens]]:
        return EXTENDED.setdefault(id(self), [])

    async def extend(
        self, reservation: Reservation, counted: Tokens, more_nano_usd: int = 0, more_tokens: int = 0
    ) -> ExtendOutcome:
        self.seen().append((reservation.call_id, counted))
        return await super().extend(reservation, counted, more_nano_usd, more_tokens)


EXTENDED: dict[int, list[tuple[str, Tokens]]] = {}


@pytest.fixture
def ledger() -> RecordingLedger:
    return RecordingLedger()


@pytest.fixture
def router_settings() -> dict[str, Any]:
    return {"heartbeat_seconds": 0.05, "client_stall_timeout_seconds": 0.3, "idle_timeout_seconds": 5.0}


@pytest.mark.parametrize("stream", [True, False])
async def test_a_call_that_waits_for_its_upstream_is_kept_alive(
    house: House, ledger: RecordingLedger, stream: bool
) -> None:
    await house.chat("tokens-2+first-400", stream=stream)
    assert len(ledger.seen()) >= 3
    assert ledger.seen()[0][1] == Tokens()


async def test_a_streams_running_count_is_recorded_for_the_reaper(house: House, ledger: RecordingLedger) -> None:
    await house.chat("tokens-40+pace-10", stream=True)
    counts = [counted.output for _, counted in ledger.seen()]
    assert counts == sorted(counts)
    assert 0 < max(counts) <= 40
    assert {counted.input for _, counted in ledger.seen() if counted.output} == {7}


async def test_a_stream_whose_reservation_was_reaped_ends(house: House, ledger: RecordingLedger) -> None:
    async with house.open_stream("tokens-200+pace-10") as reply:
        text = ""
        async for piece in reply.aiter_text():
            if not text:
                grant = next(iter(house.app.open_calls)).admission.reservation.grant
                call_id = reply.headers["x-request-id"]
                await ledger.release(call_id, grant)
            text += piece
    *_, error, done = frames(text)
    assert (error["error"]["code"], done) == ("limits_unavailable", "[DONE]")


async def test_a_client_that_stopped_reading_is_let_go(house: House) -> None:
    """Its socket takes no more: the upstream is stopped, and what it sent is billed."""
    client = RawClient(house, "tokens-250", stream=True, n=100, max_tokens=250)
    await client.send()
    client._reader._transport.pause_reading()  # type: ignore[attr-defined]
    await house.until(lambda: bool(house.upstream.calls))
    async with asyncio.timeout(15):
        while not house.log_lines() or house.log_lines()[-1]["event"] != "call":  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.05)
    assert house.log_lines()[-1]["status"] == 499
    await house.at_rest()
    client.leave()
    [event] = await house.events()
    assert event.tokens.output > 0


async def test_concurrency_slots_come_back(house: House) -> None:
    limits = {LevelKind.KEY: {"concurrency": 1}}
    key = house.directory.issue("one", levels=limits)
    headers = {"authorization": f"Bearer {key}"}
    model = house.model("tokens-2+first-200")
    body = {"model": model, "messages": MESSAGES}
    both = await asyncio.gather(house.post(body, headers=headers), house.post(body, headers=headers))
    assert sorted(reply.status_code for reply in both) == [200, 429]
    refused = next(reply for reply in both if reply.status_code == 429)
    assert (refused.json()["error"]["type"], "retry-after" in refused.headers) == ("concurrency", True)
    for stream in (True, False, True):
        reply = await house.post({**body, "stream": stream}, headers=headers)
        assert reply.status_code == 200

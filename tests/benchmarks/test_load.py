"""The load generator counts what was answered, and nothing else enters a figure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from benchmarks.load import Answer, Demand, Target, run_load
from benchmarks.process import ContenderError
from benchmarks.upstream import WORD, serve
from benchmarks.verify import stream_fault, unary_fault, until_right

PACE_SECONDS = 0.01


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    server = await serve(port=0, pace_seconds=PACE_SECONDS)
    yield target_at(server)
    server.close()


def target_at(server: asyncio.Server) -> Target:
    return Target(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", "bench")


@asynccontextmanager
async def answering(reply: bytes) -> AsyncIterator[Target]:
    """A server that answers everything with the same bytes, then closes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield target_at(server)
    server.close()


async def test_exactly_the_asked_number_of_requests_is_sent(target: Target) -> None:
    outcome = await run_load(target, Demand(tokens=4, stream=False, lanes=3, requests=20, seconds=30))
    assert outcome.answered == 20
    assert not outcome.failures


async def test_no_request_starts_after_the_time_is_up(target: Target) -> None:
    outcome = await run_load(target, Demand(tokens=4, stream=False, lanes=2, requests=10**9, seconds=0.05))
    assert 0 < outcome.answered < 10**9


async def test_the_first_word_of_a_stream_comes_before_its_end(target: Target) -> None:
    tokens = 20
    outcome = await run_load(target, Demand(tokens=tokens, stream=True, lanes=2, requests=2, seconds=30))
    for first, whole in zip(outcome.first_words, outcome.latencies, strict=True):
        assert whole - first > 2 * PACE_SECONDS


async def test_a_lane_that_the_server_closes_is_opened_again() -> None:
    async with answering(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n") as target:
        outcome = await run_load(target, Demand(tokens=4, stream=False, lanes=1, requests=3, seconds=30))
    assert outcome.failures == {"status 503": 3}
    assert outcome.answered == 0


async def test_a_cut_answer_is_a_failure_and_not_a_latency() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n lark") as target:
        outcome = await run_load(target, Demand(tokens=1, stream=False, lanes=1, requests=2, seconds=30))
    assert outcome.failures == {"connection closed": 2}
    assert outcome.answered == 0


@pytest.mark.parametrize(
    ("body", "stream", "fault"),
    [
        (WORD * 2 + '"usage"', False, None),
        (WORD * 2 + '"usage"', True, "no [DONE]"),
        (WORD * 2, False, "no usage"),
        (WORD + '"usage"', False, "1 of 2 tokens"),
    ],
)
def test_an_answer_counts_only_when_it_is_whole(body: str, stream: bool, fault: str | None) -> None:
    assert Answer(0.0, status=200, pieces=[body.encode()]).fault(2, stream) == fault


async def test_a_gateway_that_relays_and_streams_is_accepted(target: Target) -> None:
    assert await unary_fault(target) is None
    assert await stream_fault(target, PACE_SECONDS) is None


async def test_a_gateway_that_holds_streams_back_is_found_out() -> None:
    server = await serve(port=0, pace_seconds=0.0)
    assert await stream_fault(target_at(server), pace_seconds=0.01) == "held back until complete"
    server.close()


async def test_a_gateway_that_never_answers_rightly_is_given_up_with_the_reason() -> None:
    async def fault() -> str | None:
        return "status 500"

    with pytest.raises(ContenderError, match="does not relay: status 500"):
        await until_right(fault, "does not relay", patience_seconds=0.0)

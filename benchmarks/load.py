"""A closed-loop load generator: so many lanes, each sends its next request when the last answer is complete.

Bounded twice: no request is started after `requests` were started or `seconds` have passed; those under way are
finished, so that CPU time divided by answers leaves nothing out. Raw protocols keep the generator far cheaper
than what it measures.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import httptools

from benchmarks.upstream import WORD

PATIENCE_SECONDS = 60.0
WORD_BYTES = WORD.encode()
PROMPT = "Tell me, in one short paragraph, how a lark that sings at dawn differs from one that sings at dusk."


@dataclass(frozen=True)
class Target:
    """Where a contender takes requests. `url` is an OpenAI base URL such as http://127.0.0.1:8000/v1."""

    url: str
    model: str
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return str(parts.hostname), int(parts.port or 80)

    def request(self, tokens: int, stream: bool) -> bytes:
        """The whole HTTP request, rendered once and sent as it is."""
        asked: dict[str, object] = {
            "model": self.model,
            "messages": [{"role": "user", "content": PROMPT}],
            "max_tokens": tokens,
        }
        if stream:
            asked |= {"stream": True, "stream_options": {"include_usage": True}}
        body = json.dumps(asked).encode()
        head = [f"POST {urlsplit(self.url).path}/chat/completions HTTP/1.1", f"host: 127.0.0.1:{self.address[1]}"]
        head += ["content-type: application/json", "accept: */*", f"content-length: {len(body)}"]
        head += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@dataclass(frozen=True)
class Demand:
    """What is asked of one contender in one phase."""

    tokens: int
    stream: bool
    lanes: int
    requests: int
    seconds: float
    spread_seconds: float = 0.0
    """Lanes start at uneven moments within this time: streams in step would share their wake-ups."""

    def start_of(self, lane: int) -> float:
        """Multiples of the golden ratio fill the span evenly and never fall into step with a pace."""
        return self.spread_seconds * (lane * 0.6180339887 % 1)


@dataclass
class Answer:
    """One exchange as a client sees it; times are of `time.perf_counter`."""

    sent_at: float
    status: int = 0
    first_word_at: float = 0.0
    ended_at: float = 0.0
    pieces: list[bytes] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    def fault(self, tokens: int, stream: bool) -> str | None:
        """What is wrong with this answer, or None. A stream must be whole and end with [DONE]."""
        body = self.body
        if self.status != 200:
            return f"status {self.status}"
        if (found := body.count(WORD_BYTES)) != tokens:
            return f"{found} of {tokens} tokens"
        if stream and b"[DONE]" not in body:
            return "no [DONE]"
        if b'"usage"' not in body:
            return "no usage"
        return None


@dataclass
class Outcome:
    """What one phase measured. A failed answer is counted with its reason and enters no latency."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    first_words: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def answered(self) -> int:
        return len(self.latencies)

    def add(self, answer: Answer, demand: Demand) -> None:
        if (fault := answer.fault(demand.tokens, demand.stream)) is not None:
            self.failures[fault] += 1
            return
        self.latencies.append(answer.ended_at - answer.sent_at)
        self.first_words.append(answer.first_word_at - answer.sent_at)


class Lane(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answer = Answer(0.0)
        self._done: asyncio.Future[Answer] | None = None

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def exchange(self, request: bytes) -> Answer:
        """Raises ConnectionError when the peer closes before the answer is complete."""
        if self._transport is None:
            raise ConnectionError("closed between requests")
        self._done = asyncio.get_running_loop().create_future()
        self._answer = Answer(time.perf_counter())
        self._transport.write(request)
        return await self._done

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._done is not None and not self._done.done():
            self._done.set_exception(ConnectionError("connection closed"))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        answer = self._answer
        answer.pieces.append(body)
        if not answer.first_word_at and WORD_BYTES in body:
            answer.first_word_at = time.perf_counter()

    def on_message_complete(self) -> None:
        self._answer.status = self._parser.get_status_code()
        self._answer.ended_at = time.perf_counter()
        if not self._parser.should_keep_alive():
            self.close()
        if self._done is not None and not self._done.done():
            self._done.set_result(self._answer)


async def open_lane(target: Target) -> Lane:
    host, port = target.address
    _, lane = await asyncio.get_running_loop().create_connection(Lane, host, port)
    return lane


class Turnstile:
    """Lets requests start until their number or the time is used up."""

    def __init__(self, demand: Demand) -> None:
        self._left = demand.requests
        self._closes_at = time.perf_counter() + demand.seconds

    def admits(self) -> bool:
        self._left -= 1
        return self._left >= 0 and time.perf_counter() < self._closes_at


async def drive(
    number: int, target: Target, request: bytes, demand: Demand, turnstile: Turnstile, outcome: Outcome
) -> None:
    await asyncio.sleep(demand.start_of(number))
    lane = await open_lane(target)
    try:
        while turnstile.admits():
            if not lane.is_open:
                lane = await open_lane(target)
            try:
                outcome.add(await lane.exchange(request), demand)
            except ConnectionError as cut:
                outcome.failures[str(cut)] += 1
    finally:
        lane.close()


async def run_load(target: Target, demand: Demand) -> Outcome:
    """Raises TimeoutError when answers under way do not end within PATIENCE_SECONDS of the phase's time."""
    outcome = Outcome()
    request = target.request(demand.tokens, demand.stream)
    turnstile = Turnstile(demand)
    started_at = time.perf_counter()
    async with asyncio.timeout(demand.seconds + PATIENCE_SECONDS), asyncio.TaskGroup() as lanes:
        for number in range(demand.lanes):
            lanes.create_task(drive(number, target, request, demand, turnstile, outcome))
    outcome.seconds = time.perf_counter() - started_at
    return outcome

"""Raw peers at the door: what they send is bounded in size and time, and never mixes two requests."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn

from router.guarded_protocol import HEAD_BYTES, GuardedProtocol
from tests.fakes.serving import InTaskServer

GET = b"GET /1 HTTP/1.1\r\nhost: x\r\n\r\n"
QUIET_SECONDS = 0.3


class Impatient(GuardedProtocol):
    head_seconds = 0.2


@dataclass
class Door:
    """An app that answers with what it was asked, once `open` is set; on /early before it has read the body."""

    port: int = 0
    asked: list[dict[str, Any]] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked.append({"method": scope["method"], "path": scope["path"], "headers": headers})
        body, more = b"", not scope["path"].endswith("/early")
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        await self._opened(receive)
        answer = b"%s:%s" % (scope["path"].encode(), body)
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(answer))]}
        )
        await send({"type": "http.response.body", "body": answer})

    async def _opened(self, receive: Any) -> None:
        """Wait for `open`, or for the client to go."""
        if self.open.is_set():
            return
        tasks = {asyncio.ensure_future(receive()), asyncio.ensure_future(self.open.wait())}
        done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        if any(isinstance(task.result(), dict) for task in done):
            self.gone.set()

    async def talk(self, *pieces: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        for piece in pieces:
            writer.write(piece)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
        return reader, writer


async def said(reader: asyncio.StreamReader, seconds: float = 5.0) -> bytes:
    """Everything until the other side closes."""
    async with asyncio.timeout(seconds):
        return await reader.read()


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    door = Door()
    door.open.set()
    config = uvicorn.Config(door, port=0, http=Impatient, ws="none", lifespan="off", log_config=None)
    listener = config.bind_socket()
    server = InTaskServer(config)
    door.port = listener.getsockname()[1]
    task = asyncio.create_task(server.serve(sockets=[listener]))
    yield door
    for writer in door.writers:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    server.should_exit = True
    server.stop()
    await task


@pytest.mark.parametrize(
    "flood",
    [
        [GET[:-2], *[b"x-a: " + b"y" * 1000 + b"\r\n"] * 1000],
        [GET[:-2] + b"x-a: ", *[b"y" * 1000] * 1000],
        [b"GET /", *[b"y" * 1000] * 1000],
        [
            b"POST /early HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
            *[b"x-a: " + b"y" * 1000 + b"\r\n"] * 1000,
        ],
        [b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1;", *[b"y" * 1000] * 1000],
    ],
    ids=["headers", "header", "url", "trailers", "chunk extension"],
)
async def test_nothing_but_a_body_may_be_large(door: Door, flood: list[bytes]) -> None:
    reader, writer = await door.talk()
    sent = 0
    with contextlib.suppress(ConnectionError):
        for piece in flood:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
            sent += len(piece)
            if reader.at_eof():
                break
    with contextlib.suppress(ConnectionError):
        assert b"431 Request Header Fields Too Large" in await said(reader)
    assert sent < 20 * HEAD_BYTES


async def test_a_large_body_in_small_pieces_is_no_flood(door: Door) -> None:
    head = b"POST / HTTP/1.1\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % (4 * HEAD_BYTES)
    reader, _writer = await door.talk(head, *[b"z" * 1024] * (4 * HEAD_BYTES // 1024))
    assert len(await said(reader)) > 4 * HEAD_BYTES


@pytest.mark.parametrize(
    "begun", [b"", b"GET / HT", GET + b"GET / HT", b"POST /early HTTP/1.1\r\ncontent-length: 9\r\n\r\nab"]
)
async def test_who_goes_on_too_slowly_loses_the_connection(door: Door, begun: bytes) -> None:
    reader, writer = await door.talk(begun)
    closed = asyncio.create_task(said(reader))
    while not closed.done():
        await asyncio.sleep(0.05)
        writer.write(b"x" if begun else b"")
    await asyncio.gather(closed, return_exceptions=True)


async def test_a_connection_that_rests_between_requests_stays(door: Door) -> None:
    reader, writer = await door.talk(GET)
    await reader.readuntil(b"/1:")
    await asyncio.sleep(2 * Impatient.head_seconds)
    writer.write(GET)
    await reader.readuntil(b"/1:")


async def test_a_client_that_sent_the_next_request_and_left_is_noticed(door: Door) -> None:
    door.open.clear()
    _, writer = await door.talk(GET, GET)
    writer.transport.abort()
    async with asyncio.timeout(5):
        await door.gone.wait()


async def test_a_request_before_the_last_reply_is_not_read_and_spoils_nothing(door: Door) -> None:
    door.open.clear()
    second = b"POST /2 HTTP/1.1\r\nx-second: 1\r\ncontent-length: 3\r\n\r\nabc"
    reader, _writer = await door.talk(GET + second, second)
    await asyncio.sleep(QUIET_SECONDS)
    door.open.set()
    reply = await said(reader)
    assert reply.count(b"HTTP/1.1") == 1 and reply.endswith(b"/1:") and b"connection: close" in reply
    assert [asked["path"] for asked in door.asked] == ["/1"]
    assert "x-second" not in door.asked[0]["headers"]


async def test_what_follows_a_body_is_no_header(door: Door) -> None:
    body = b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n2\r\nhi\r\n0\r\nauthorization: other\r\n\r\n"
    reader, _writer = await door.talk(b"POST /1 HTTP/1.1\r\n" + body)
    assert (await said(reader)).endswith(b"/1:hi")
    assert "authorization" not in door.asked[0]["headers"]


@pytest.mark.parametrize("offer", [b"h2c", b"websocket"])
async def test_an_offer_to_upgrade_is_not_taken_up_and_the_request_is_served(door: Door, offer: bytes) -> None:
    """Java's HttpClient offers HTTP/2 with every first request."""
    head = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: " + offer + b"\r\nhttp2-settings: AA\r\n"
    request = b"POST /1 HTTP/1.1\r\nx-own: 1\r\n" + head + b"content-length: 5\r\n\r\nhe"
    reader, writer = await door.talk(request)
    await asyncio.sleep(0.05)
    writer.write(b"llo")
    await reader.readuntil(b"/1:hello")
    assert door.asked[0]["headers"] == {"x-own": "1", "content-length": "5"}
    writer.write(GET)
    await reader.readuntil(b"/1:")


@pytest.mark.parametrize(
    "request_line", [b"\x16\x03\x01", b"CONNECT x:1 HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
)
async def test_what_is_no_http_gets_the_envelope(door: Door, request_line: bytes) -> None:
    reader, _writer = await door.talk(request_line)
    head, _, body = (await said(reader)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}
    assert door.asked == []

"""The lean client, against a bare socket: every framing that HTTP/1.1 has, and connections that are used again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from yarl import URL

from router.upstreams.connection import BUFFER_BYTES
from router.upstreams.pool import ConnectError, ConnectionPool
from router.upstreams.transport import Arrival, LeanTransport
from tests.fakes.serving import Handler, speaking

OK = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok"


@contextlib.asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[URL]:
    async with speaking(handler) as port:
        yield URL(f"http://127.0.0.1:{port}/v1/chat/completions")


@pytest.fixture
async def transport() -> AsyncIterator[LeanTransport]:
    lean = LeanTransport(ConnectionPool(2, connect_timeout_seconds=1.0))
    yield lean
    lean.close()


async def take(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    return head + await reader.readexactly(2)


async def whole(arrival: Arrival) -> bytes:
    pieces = []
    while piece := await arrival.read():
        pieces.append(piece)
    return b"".join(pieces)


async def test_the_request_is_what_was_asked_for_and_nothing_else(transport: LeanTransport) -> None:
    asked = b""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked = await take(reader)
        writer.write(OK)

    async with server(handler) as url:
        arrival = await transport.post(url, b"{}", {"x-request-id": "1", "authorization": "Bearer k"})
        arrival.close()
    lines = [b"POST /v1/chat/completions HTTP/1.1", b"host: 127.0.0.1:%d" % (url.port or 0), b"x-request-id: 1"]
    assert asked == b"\r\n".join([*lines, b"authorization: Bearer k", b"content-length: 2", b"", b"{}"])


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n"
        b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nok",
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK,
    ],
    ids=["length", "until it closes", "chunked", "http 1.0", "after an interim answer"],
)
@pytest.mark.parametrize("step", [1, 7, 1000])
async def test_every_framing_is_understood_in_pieces_of_any_size(
    transport: LeanTransport, answer: bytes, step: int
) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await take(reader)
        for at in range(0, len(answer), step):
            writer.write(answer[at : at + step])
            await asyncio.sleep(0)

    async with server(handler) as url:
        arrival = await transport.post(url, b"{}", {})
        assert (arrival.status, arrival.content_type, await whole(arrival)) == (200, "text/plain", b"ok")
        assert arrival.at_end
        arrival.close()


async def keep_answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    port = b"%d" % writer.get_extra_info("peername")[1]
    while True:
        await take(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(port), port))


async def test_a_connection_is_used_again_only_after_its_answer_was_read(transport: LeanTransport) -> None:
    async with server(keep_answering) as url:
        first = await transport.post(url, b"{}", {})
        port = await whole(first)
        first.close()
        again = await transport.post(url, b"{}", {})
        assert await whole(again) == port
        again.close()
        unread = await transport.post(url, b"{}", {})
        unread.close()
        other = await transport.post(url, b"{}", {})
        assert await whole(other) != port
        other.close()


async def test_what_nobody_asked_for_spoils_a_kept_connection(transport: LeanTransport) -> None:
    connections, answered, spoiled = 0, asyncio.Event(), asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await take(reader)
        writer.write(OK)
        await answered.wait()
        writer.write(OK)
        spoiled.set()
        await reader.read()

    async with server(handler) as url:
        for _ in range(2):
            arrival = await transport.post(url, b"{}", {})
            assert await whole(arrival) == b"ok"
            arrival.close()
            answered.set()
            await spoiled.wait()
            await asyncio.sleep(0.01)
            answered.clear()
            spoiled.clear()
    assert connections == 2


async def test_no_more_connections_than_allowed_are_open_at_once(transport: LeanTransport) -> None:
    async with server(keep_answering) as url:
        held = [await transport.post(url, b"{}", {}) for _ in range(2)]
        third = asyncio.create_task(transport.post(url, b"{}", {}))
        await asyncio.sleep(0.05)
        assert not third.done()
        held[0].close()
        (await third).close()
        held[1].close()


async def test_a_call_that_is_cancelled_while_it_waits_leaves_nothing_open(transport: LeanTransport) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await take(reader)
        asked.set()
        await reader.read()
        gone.set()

    async with server(handler) as url:
        for _ in range(4):
            asked.clear()
            gone.clear()
            call = asyncio.create_task(transport.post(url, b"{}", {}))
            await asked.wait()
            call.cancel()
            async with asyncio.timeout(1):
                await gone.wait()


async def test_an_upstream_is_held_back_while_nobody_reads(transport: LeanTransport) -> None:
    written = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await take(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            written += 65536

    async with server(handler) as url:
        arrival = await transport.post(url, b"{}", {})
        await asyncio.sleep(0.3)
        held_at = written
        await asyncio.sleep(0.1)
        assert written == held_at
        while len(await arrival.read()) < BUFFER_BYTES:
            pass
        async with asyncio.timeout(5):
            while written == held_at:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        arrival.close()


async def test_an_origin_where_nobody_listens_is_told_apart(transport: LeanTransport) -> None:
    async with server(keep_answering) as url:
        pass
    for _ in range(3):
        with pytest.raises(ConnectError):
            await transport.post(url, b"{}", {})

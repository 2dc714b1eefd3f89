"""The client towards upstreams, against a server that is a bare socket and can do what no framework does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest

from contracts.catalog import Operation, Upstream
from router.upstreams.upstreams import FaultKind, UpstreamFault, Upstreams
from tests.fakes.serving import Handler, speaking

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


@contextlib.asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[Upstream]:
    async with speaking(handler) as port:
        yield Upstream(id="u", model_id="m", base_url=f"http://127.0.0.1:{port}/v1", model_name="m")


@pytest.fixture(params=["lean", "traced"])
async def upstreams(request: pytest.FixtureRequest) -> AsyncIterator[Upstreams]:
    """Both ways that a call can travel."""
    client = Upstreams(connections=10, connect_timeout_seconds=1.0, eject_after=3)
    client.open([aiohttp.TraceConfig()] if request.param == "traced" else None)
    yield client
    await client.close()


async def take(reader: asyncio.StreamReader) -> None:
    await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(2)


async def test_a_kept_connection_that_was_just_given_up_is_replaced(upstreams: Upstreams) -> None:
    connections = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await take(reader)
        if connections > 1:
            writer.write(OK)

    async with server(handler) as upstream:
        reply = await upstreams.send(upstream, Operation.CHAT, b"{}", {})
        assert await reply.read_all(100) == b"{}"
        reply.close()
    assert connections == 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", FaultKind.CUT),
        (b"\x00\x01\x02 no http at all\r\n\r\n", FaultKind.CUT),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nshort", FaultKind.CUT),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", FaultKind.CUT),
        (b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 100_000 + b"\r\n\r\n", FaultKind.CUT),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n" + b"x" * 500, FaultKind.TOO_LARGE),
    ],
)
async def test_what_is_no_proper_answer_is_a_fault(upstreams: Upstreams, answer: bytes, kind: FaultKind) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await take(reader)
        writer.write(answer)
        await writer.drain()

    async with server(handler) as upstream:
        with pytest.raises(UpstreamFault) as caught:
            reply = await upstreams.send(upstream, Operation.CHAT, b"{}", {})
            try:
                await reply.read_all(100)
            finally:
                reply.close()
    assert caught.value.kind is kind
    assert upstreams.state(upstream).in_flight == 0


async def test_what_was_sent_before_our_half_closed_is_not_lost(upstreams: Upstreams) -> None:
    """The server writes on until it notices; all of it arrives."""
    written = bytearray()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await take(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while not reader.at_eof():
            writer.write(b"6\r\ntoken \r\n")
            written.extend(b"token ")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.001)
        writer.write(b"5\r\nlast \r\n")
        written.extend(b"last ")

    async with server(handler) as upstream:
        reply = await upstreams.send(upstream, Operation.CHAT, b"{}", {})
        got = await reply.read()
        await asyncio.sleep(0.02)
        got += await reply.leftovers()
        reply.close()
    assert got == bytes(written)


async def test_a_server_that_goes_on_after_our_half_closed_is_cut_off(upstreams: Upstreams) -> None:
    cut = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await take(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        try:
            while True:
                writer.write(b"token ")
                await writer.drain()
                await asyncio.sleep(0.005)
        except ConnectionError:
            cut.set()

    async with server(handler) as upstream:
        reply = await upstreams.send(upstream, Operation.CHAT, b"{}", {})
        await reply.leftovers()
        reply.close()
        async with asyncio.timeout(1):
            await cut.wait()

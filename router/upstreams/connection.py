"""One HTTP/1.1 connection to an upstream, for the path of a request: httptools, and only what a call needs.

It takes a fifth off the router's CPU per call that aiohttp's client costs (docs/adr/0001 has the figures). Every
fault is an OSError, as those of the socket itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, cast

import httptools

BUFFER_BYTES: Final = 256 * 1024
"""What may lie unread before the upstream is held back."""
HEAD_BYTES: Final = 64 * 1024


class BadAnswerError(ConnectionError):
    """What came is not HTTP/1.1 as we speak it."""


class UpstreamConnection(asyncio.Protocol):
    """One exchange at a time: `ask`, then `read` until it is empty. What came before a fault is read first."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._pieces: deque[bytes] = deque()
        self._begin(asked=False)

    def _begin(self, asked: bool) -> None:
        self._asked = asked
        self._error: OSError | None = None
        self._head_bytes = self._unfinished_bytes = self._buffered_bytes = 0
        self._has_length = self._is_paused = self._is_complete = self._is_reusable = False
        self.is_untouched = True
        self.status = 0
        self.content_type = ""

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    @property
    def is_reusable(self) -> bool:
        """The answer was read to its end, and both sides keep the connection."""
        return self._is_reusable and not self._pieces and self.is_open

    @property
    def at_end(self) -> bool:
        return self._is_complete and not self._pieces

    async def ask(self, request: bytes) -> None:
        """Send a whole request; returns once the status of its answer has arrived."""
        self._begin(asked=True)
        if self._transport is None:
            raise ConnectionResetError("closed while idle")
        self._transport.write(request)
        while not self.status:
            if self._error is not None:
                raise self._error
            await self._change()

    async def read(self) -> bytes:
        """What has arrived, at least one byte; empty at the end."""
        while not self._pieces:
            if self._is_complete:
                return b""
            if self._error is not None:
                raise self._error
            await self._change()
        data = self._pieces.popleft() if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._buffered_bytes = 0
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()
        return data

    def close_our_half(self) -> None:
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The end of an answer that has no length of its own, else a fault."""
        self._transport = None
        if self.status and not self._has_length and exc is None:
            self._is_complete = True
        elif not self._is_complete:
            self._fail(exc if isinstance(exc, OSError) else ConnectionResetError("closed before the answer's end"))
        self._wake()

    def data_received(self, data: bytes) -> None:
        if self._is_complete or not self._asked:
            return self.abort()
        self.is_untouched = False
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            return self._refuse(f"not HTTP/1.1: {error}")
        if not self.status:
            self._unfinished_bytes += len(data)
            if self._unfinished_bytes > HEAD_BYTES:
                self._refuse("the head is too large")
        return None

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        match name.lower():
            case b"content-type":
                self.content_type = value.decode("latin-1")
            case b"content-length" | b"transfer-encoding":
                self._has_length = True

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._head_bytes > HEAD_BYTES:
            self._refuse("the head is too large")
        elif status >= 200:
            self.status = status
            self._wake()

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)
        self._buffered_bytes += len(body)
        if self._buffered_bytes > BUFFER_BYTES and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        if not self.status:  # an interim answer (1xx); the real one follows
            self._has_length = False
            return
        self._is_complete = True
        self._is_reusable = self._parser.should_keep_alive()
        self._wake()

    def _refuse(self, why: str) -> None:
        self._fail(BadAnswerError(why))
        self.abort()

    def _fail(self, error: OSError) -> None:
        self._error = self._error or error
        self._wake()

    async def _change(self) -> None:
        self._waiter = self._loop.create_future()
        await self._waiter

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

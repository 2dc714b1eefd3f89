"""One HTTP exchange as the endpoints see it: headers, body, and the reply, whole or as a stream."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from starlette.types import Message, Receive, Scope, Send

from contracts.grant import Grant
from router.answers import sse
from router.errors import BodyTimeoutError, BodyTooLargeError, CallError, Headers, body_of
from router.headers import client_headers
from router.ports import Headroom

JSON_TYPE: Final = (b"content-type", b"application/json")
STREAM_HEADERS: Final = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
LINGER_BYTES: Final = 8 * 1024 * 1024
LINGER_SECONDS: Final = 2.0
UNWATCHED_SECONDS: Final = 0.05
"""A client that leaves a whole call may go unnoticed so long; a call that is answered sooner needs no watcher."""


T = TypeVar("T", bytes, bytearray)


class ClientGoneError(Exception):
    """The client went away before its call was complete; there is nobody to answer."""


class Watch:
    """Until it is cancelled, `on_gone` is called when the client goes away. It costs a task only if it is still
    wanted `after_seconds` from now."""

    __slots__ = ("_on_gone", "_receive", "_waiting")

    def __init__(self, receive: Receive, on_gone: Callable[[], None], after_seconds: float) -> None:
        self._receive = receive
        self._on_gone = on_gone
        loop = asyncio.get_running_loop()
        self._waiting: asyncio.TimerHandle | asyncio.Task[None] = loop.call_later(after_seconds, self._begin)

    def cancel(self) -> None:
        self._waiting.cancel()

    def _begin(self) -> None:
        self._waiting = asyncio.create_task(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._on_gone()


class Exchange:
    """Also the Sink of a stream. `closing` asks the client for a new connection next time."""

    __slots__ = (
        "_receive",
        "_send",
        "call_id",
        "closing",
        "fields",
        "grant",
        "headers",
        "headroom",
        "method",
        "path",
        "route",
        "started",
        "started_at",
        "status",
        "writing_since",
        "written_at",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, call_id: str, closing: bool) -> None:
        self._receive = receive
        self._send = send
        self.call_id = call_id
        self.closing = closing
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.route = "unknown"
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.grant: Grant | None = None
        self.headroom: Headroom | None = None
        self.status = 0
        self.fields: dict[str, Any] = {}
        self.started = False
        self.writing_since: float | None = None
        self.started_at = self.written_at = time.monotonic()

    async def body(self, limit_bytes: int, timeout_seconds: float) -> bytes:
        """The whole body; raises BodyTooLargeError before it is buffered, BodyTimeoutError, ClientGoneError."""
        declared = self.headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > limit_bytes:
            raise BodyTooLargeError(limit_bytes)
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._read(limit_bytes)
        except TimeoutError as error:
            raise BodyTimeoutError from error

    def watch(self, on_gone: Callable[[], None], after_seconds: float) -> Watch:
        """The body has been read."""
        return Watch(self._receive, on_gone, after_seconds)

    async def reply(self, status: int, body: bytes, headers: Headers, content_type: bytes | None = None) -> None:
        kind = JSON_TYPE if content_type is None else (b"content-type", content_type)
        await self._start(status, [kind, (b"content-length", b"%d" % len(body)), *headers])
        await self._send({"type": "http.response.body", "body": body})

    async def reply_json(self, content: Any) -> None:
        await self.reply(200, json.dumps(content, separators=(",", ":")).encode(), [])

    async def fail(self, error: CallError) -> None:
        """The error in the OpenAI envelope. A body that nobody will use is read for a moment, so that the client
        can read the reply before its connection is cut."""
        self.fields["code"] = error.code or error.kind
        content, headers = body_of(error), error.headers()
        if (b"connection", b"close") not in headers:
            return await self.reply(error.status, content, headers)
        await self._start(error.status, [JSON_TYPE, (b"content-length", b"%d" % len(content)), *headers])
        await self._send({"type": "http.response.body", "body": content, "more_body": True})
        await self._linger()
        return await self._send({"type": "http.response.body", "body": b""})

    async def write(self, data: bytes) -> None:
        if not self.started:
            await self._start(200, STREAM_HEADERS)
        self.writing_since = time.monotonic()
        await self._send({"type": "http.response.body", "body": data, "more_body": True})
        self.writing_since = None
        self.written_at = time.monotonic()

    async def finish(self, data: bytes) -> None:
        """The end of a stream."""
        if not self.started:
            await self._start(200, STREAM_HEADERS)
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    async def ping(self) -> None:
        """A sign of life between frames."""
        if self.writing_since is None:
            await self.write(sse.PING)

    async def _start(self, status: int, headers: Headers) -> None:
        self.started = True
        self.status = status
        elapsed = time.monotonic() - self.started_at
        headers = [*headers, *client_headers(self.call_id, elapsed, self.grant, self.headroom)]
        if self.closing:
            headers.append((b"connection", b"close"))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def _read(self, limit_bytes: int) -> bytes:
        message = await self._message()
        if not message.get("more_body"):
            body: bytes = message.get("body", b"")
            return self._checked(body, limit_bytes)
        pieces = bytearray(message.get("body", b""))
        while message.get("more_body"):
            self._checked(pieces, limit_bytes)
            message = await self._message()
            pieces += message.get("body", b"")
        return bytes(self._checked(pieces, limit_bytes))

    def _checked(self, body: T, limit_bytes: int) -> T:
        if len(body) > limit_bytes:
            raise BodyTooLargeError(limit_bytes)
        return body

    async def _message(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        return message

    async def _linger(self) -> None:
        size, more = 0, True
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while more and size < LINGER_BYTES:
                    message = await self._message()
                    more = message.get("more_body", False)
                    size += len(message.get("body", b""))
        except (TimeoutError, ClientGoneError):
            return

"""What uvicorn leaves to the proxy in front of it, for a gateway that may have none: no peer holds memory, a
connection or a call by sending little, much or the next request too early."""

from __future__ import annotations

import asyncio
import json
from typing import Any, ClassVar, Final

import httptools

from router.one_write import OneWriteProtocol

HEAD_BYTES: Final = 64 * 1024
"""What may arrive without being of use: a head, or what stands around the chunks of a body."""
HOP_HEADERS: Final = frozenset({b"connection", b"upgrade", b"http2-settings"})
BAD_STATUS_LINES: Final = {
    400: b"HTTP/1.1 400 Bad Request\r\n",
    431: b"HTTP/1.1 431 Request Header Fields Too Large\r\n",
}


class GuardedProtocol(OneWriteProtocol):
    """One request at a time: one that comes before the reply to the last is not read, and the connection closes
    after that reply, as RFC 9112 (9.3.2) allows. An offer to upgrade is not taken up; the request is served."""

    head_seconds: ClassVar[float] = 20.0
    """For a whole head, and for the rest of a body that was answered before it came."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._useless_bytes = 0
        self._in_message = self._is_deaf = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return None
        self._unset_keepalive_if_required()
        self._useless_bytes += len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError:
            return self.send_400_response("This is not a valid HTTP/1.1 request.")
        if self._useless_bytes > HEAD_BYTES:
            return self._refuse(431, "The request's head is too large.")
        if not self._is_busy():
            self._wait_for_more()
        return None

    def on_message_begin(self) -> None:
        if self._is_busy():
            self._is_deaf = True
            self.cycle.keep_alive = False
            self.headers = []
            return
        self._in_message = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """What follows the body is no header of the request, so it goes to a list of its own."""
        if self._is_deaf or self.parser.should_upgrade():
            return
        self._useless_bytes = 0
        self._stop_timer()
        super().on_headers_complete()
        self.headers = []

    def on_body(self, body: bytes) -> None:
        if not self._is_deaf:
            self._useless_bytes = 0
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._is_deaf or self.parser.should_upgrade():
            return
        self._useless_bytes = 0
        self._in_message = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, msg)

    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._is_deaf:
                return
            rest = data[upgrade.args[0] :]
            if self.parser.get_method() == b"CONNECT":
                raise httptools.HttpParserInvalidMethodError("no tunnels") from upgrade
            self._begin_again(rest)

    def _begin_again(self, rest: bytes) -> None:
        """The parser takes what follows an offer to upgrade for another protocol: a new one gets the same request
        without the offer."""
        lines = [name + b": " + value for name, value in self.headers if name not in HOP_HEADERS]
        start = b"%s %s HTTP/1.1" % (self.parser.get_method(), self.url)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.parser.feed_data(b"\r\n".join([start, *lines, b"", b""]) + rest)

    def _wait_for_more(self) -> None:
        """Nobody is served, so what came is a piece of a head, or of a body that is not wanted any more."""
        if self._in_message:
            self._start_timer()
        else:
            self._stop_timer()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.head_seconds, self.timeout_keep_alive_handler)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: int, message: str) -> None:
        """An answer in the OpenAI envelope, but nothing into the middle of a reply that has begun."""
        if not (self._is_busy() and self.cycle.response_started):
            error = {"message": message, "type": "invalid_request_error", "param": None, "code": "invalid_http"}
            body = json.dumps({"error": error}).encode()
            head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            self.transport.write(BAD_STATUS_LINES[status] + head + body)
        self.transport.close()

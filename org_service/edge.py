"""What happens around every request: an id, a size limit, headers, one log line, and a 500 that says nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from dataclasses import dataclass
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contracts.log_line import say
from org_service.errors import ApiError, BodyTimeoutError, TooLargeError, envelope
from org_service.metrics import Metrics

log = logging.getLogger(__name__)

_VERSION: Final = b"2020-10-01"
_NO_ROUTE: Final = "unknown"
_GONE: Final = 499
_LAST: Final = (b"connection", b"close")


class ClientGoneError(Exception):
    """The client left before its request was complete: nothing of it is done, and nobody is answered."""


@dataclass(frozen=True, slots=True)
class Edge:
    """Pure ASGI, outside everything else of the app."""

    app: ASGIApp
    metrics: Metrics
    max_body_bytes: int
    body_seconds: float = 30.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(scope, send)
        try:
            body = await self._body(scope, receive)
            await self.app(scope, _replay(body, receive), exchange.send)
        except ApiError as error:
            await exchange.refuse(error.status, envelope(error.message, error.type, error.code), _LAST)
        except ClientGoneError:
            exchange.status = _GONE
        except Exception as error:  # noqa: BLE001 - the ASGI edge: a bug is answered, and told in the log
            say(log, logging.ERROR, "request_failed", raised=error, request_id=exchange.request_id)
            if exchange.status == 0:
                message = f"The server had an error. Its request id is {exchange.request_id}."
                await exchange.refuse(500, envelope(message, "server_error", None))
        finally:
            exchange.record(self.metrics)

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body; raises TooLargeError, BodyTimeoutError, ClientGoneError."""
        try:
            async with asyncio.timeout(self.body_seconds):
                return await _read_body(scope, receive, self.max_body_bytes)
        except TimeoutError:
            raise BodyTimeoutError("The request body did not arrive in time.") from None


class _Exchange:
    """One request with its reply: adds the headers that every reply has, and remembers what became of it."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope, self._send = scope, send
        self._started = time.perf_counter()
        self.request_id = f"req_{uuid.uuid4().hex}"
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message["headers"], *self._headers()]}
        await self._send(message)

    def _headers(self) -> list[tuple[bytes, bytes]]:
        elapsed_ms = int((time.perf_counter() - self._started) * 1000)
        headers = [
            (b"x-request-id", self.request_id.encode()),
            (b"openai-processing-ms", str(elapsed_ms).encode()),
            (b"openai-version", _VERSION),
        ]
        organization_id = self._scope.get("tern.organization_id")
        if organization_id is not None:
            headers.append((b"openai-organization", organization_id.encode()))
        return headers

    async def refuse(self, status: int, body: dict[str, Any], *further: tuple[bytes, bytes]) -> None:
        """An answer without the app."""
        payload = json.dumps(body).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(payload)).encode()),
            *further,
        ]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": payload})

    def record(self, metrics: Metrics) -> None:
        seconds = time.perf_counter() - self._started
        route = getattr(self._scope.get("route"), "path", _NO_ROUTE)
        method = self._scope["method"]
        metrics.requests.labels(method, route, self.status).inc()
        metrics.request_seconds.labels(method, route).observe(seconds)
        say(
            log,
            logging.INFO,
            "request",
            request_id=self.request_id,
            method=method,
            route=route,
            status=self.status,
            duration_ms=round(seconds * 1000, 1),
            organization_id=self._scope.get("tern.organization_id"),
        )


async def _read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """Administration bodies are small."""
    declared = dict(scope["headers"]).get(b"content-length", b"0")
    body, more = b"", True
    too_large = TooLargeError(f"The body is longer than {limit} bytes.")
    if declared.isdigit() and int(declared) > limit:
        raise too_large
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > limit:
            raise too_large
    return body


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replayed() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed

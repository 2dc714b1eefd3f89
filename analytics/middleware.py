"""Around every request: an id, one log line, a count, and the last net for a bug."""

from __future__ import annotations

import logging
import re
import time
import uuid
from typing import Any, Final

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from analytics.errors import InternalError
from analytics.metrics import ApiMetrics
from contracts.log_line import say

log = logging.getLogger(__name__)

PLAUSIBLE_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")
UNMATCHED: Final = "unmatched"
INTERNAL: Final = "The server had an error while processing your request."


class RequestLine:
    """Pure ASGI. The caller's `x-request-id` is kept where it is plausible, else one is made."""

    def __init__(self, app: ASGIApp, metrics: ApiMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        started = time.perf_counter()
        answer: dict[str, Any] = {"status": 500, "started": False}

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.update(status=message["status"], started=True)
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:
            say(log, logging.ERROR, "request_failed", raised=error, request_id=request_id)
            if answer["started"]:
                raise
            reply = JSONResponse(InternalError(INTERNAL).envelope(), 500)
            await reply(scope, receive, send_with_id)
        finally:
            self._note(scope, request_id, answer["status"], time.perf_counter() - started)

    def _note(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", UNMATCHED)
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        ms = round(seconds * 1000, 1)
        say(log, logging.INFO, "request", request_id=request_id, route=route, status=status, duration_ms=ms)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text: str = value.decode("latin-1")
            if PLAUSIBLE_ID.fullmatch(text):
                return text
    return f"req_{uuid.uuid4().hex}"

"""The edge: every exchange gets an id, every error the OpenAI envelope, every reply one log line and one count."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from router.endpoints.exchange import ClientGoneError, Exchange
from router.errors import CallError, LimitReachedError
from router.log import JsonLog
from router.metrics import Metrics

CLIENT_GONE_STATUS = 499
QUIET_PATHS = frozenset({"/health", "/ready", "/metrics"})


class Edge:
    def __init__(self, app: ASGIApp, log: JsonLog, metrics: Metrics, is_draining: Callable[[], bool]) -> None:
        self._app = app
        self._log = log
        self._metrics = metrics
        self._is_draining = is_draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        exchange = Exchange(scope, receive, send, new_call_id(), self._is_draining())
        scope["exchange"] = exchange
        try:
            await self._app(scope, receive, send)
        except CallError as error:
            await self._fail(exchange, error)
        except ClientGoneError:
            exchange.status = CLIENT_GONE_STATUS
        except Exception as error:
            self._log.error("bug", request_id=exchange.call_id, error=repr(error))
            await self._fail(exchange, CallError())
            raise
        finally:
            self._record(exchange)
        return None

    async def _fail(self, exchange: Exchange, error: CallError) -> None:
        if isinstance(error, LimitReachedError):
            self._metrics.refused(error.refused.level, error.refused.dimension)
        if not exchange.started:
            await exchange.fail(error)

    def _record(self, exchange: Exchange) -> None:
        self._metrics.replied(exchange.route, exchange.status)
        if exchange.route in QUIET_PATHS:
            return
        fields = exchange.fields
        if grant := exchange.grant:
            fields |= {"organization_id": grant.organization_id, "project_id": grant.project_id}
            fields["key_id"] = grant.key_id
        if named := exchange.headers.get(b"x-client-request-id"):
            fields["client_request_id"] = named[:128].decode("latin-1")
        fields["duration_ms"] = round((time.monotonic() - exchange.started_at) * 1000, 2)
        self._log.info("call", request_id=exchange.call_id, route=exchange.route, status=exchange.status, **fields)


def new_call_id() -> str:
    """A UUIDv7 (RFC 9562): ordered by time, so that ids of one moment lie together in every index."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | (int.from_bytes(os.urandom(10)) & ((1 << 80) - 1))
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

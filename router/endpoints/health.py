"""GET /health, /ready and /metrics: for machines that watch over this one."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import Receive, Scope, Send

from router.endpoints.exchange import Exchange
from router.errors import MethodNotAllowedError
from router.metrics import CONTENT_TYPE, Metrics


class Health:
    """Alive as long as it answers."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _only_get(scope).reply_json({"status": "ok"})


class Ready:
    """503 with the reasons while new calls should go elsewhere."""

    def __init__(self, unready_because: Callable[[], list[str]]) -> None:
        self._unready_because = unready_because

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = _only_get(scope)
        reasons = self._unready_because()
        if not reasons:
            return await exchange.reply_json({"status": "ready"})
        text = ", ".join(f'"{reason}"' for reason in reasons)
        return await exchange.reply(503, f'{{"status":"unready","because":[{text}]}}'.encode(), [])


class Scrape:
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _only_get(scope).reply(200, self._metrics.render(), [], CONTENT_TYPE.encode())


def _only_get(scope: Scope) -> Exchange:
    exchange: Exchange = scope["exchange"]
    if exchange.method not in ("GET", "HEAD"):
        raise MethodNotAllowedError(exchange.method, exchange.path, "GET")
    return exchange

"""GET /v1/models and /v1/models/{model}: what the key may use."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from starlette.types import Receive, Scope, Send

from contracts.catalog import Model
from contracts.grant import Grant
from router.authenticate import authenticate
from router.endpoints.exchange import Exchange
from router.endpoints.paths import MODEL_PREFIX
from router.errors import MethodNotAllowedError, ModelNotFoundError
from router.ports import KeyDirectory
from router.snapshot import Snapshot, Snapshots


class Models:
    def __init__(self, directory: KeyDirectory, snapshots: Snapshots) -> None:
        self._directory = directory
        self._snapshots = snapshots

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange = scope["exchange"]
        if exchange.method not in ("GET", "HEAD"):
            raise MethodNotAllowedError(exchange.method, exchange.path, "GET")
        now = datetime.now(UTC)
        exchange.grant = await authenticate(exchange.headers, self._directory, now)
        usable = _usable(self._snapshots.latest(), exchange.grant, now)
        name = exchange.path.removeprefix(MODEL_PREFIX)
        if name == exchange.path:
            return await exchange.reply_json({"object": "list", "data": list(usable.values())})
        if name not in usable:
            raise ModelNotFoundError(name)
        return await exchange.reply_json(usable[name])


def _usable(snapshot: Snapshot, grant: Grant, now: datetime) -> dict[str, dict[str, Any]]:
    """Only what a call would be admitted for: permitted, and with a price."""
    return {
        name: _described(name, model)
        for name, model in snapshot.names()
        if grant.permits(model.id) and snapshot.prices(model.id, now)
    }


def _described(name: str, model: Model) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": int(model.created_at.timestamp()),
        "owned_by": model.owned_by,
        "max_model_len": model.context_window_tokens,
    }

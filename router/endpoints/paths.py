"""Path -> endpoint: the paths are few and fixed, so one look into a dictionary finds nearly all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from router.endpoints.exchange import Exchange
from router.errors import UnknownUrlError

MODEL_PREFIX: Final = "/v1/models/"


class Paths:
    """`model` answers below MODEL_PREFIX; the name may hold slashes, which the server has decoded already."""

    def __init__(self, endpoints: Mapping[str, ASGIApp], model: ASGIApp) -> None:
        self._endpoints = endpoints
        self._model = model

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange = scope["exchange"]
        path = exchange.path
        endpoint = self._endpoints.get(path)
        if endpoint is not None:
            exchange.route = path
        elif path.startswith(MODEL_PREFIX) and len(path) > len(MODEL_PREFIX):
            endpoint, exchange.route = self._model, MODEL_PREFIX + "{model}"
        else:
            raise UnknownUrlError(exchange.method, path)
        await endpoint(scope, receive, send)

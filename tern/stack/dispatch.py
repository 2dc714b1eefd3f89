"""One ASGI app in front of the three services, by path, as an ingress would do it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from starlette.applications import Starlette
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

ANALYTICS_PREFIXES = ("/v1/organization/usage", "/v1/organization/costs", "/internal/v1/spend")
ORG_PREFIXES = ("/v1/organization", "/v1/projects", "/internal/v1")


class Dispatch:
    """The first prefix that matches whole path segments wins; everything else goes to `default`."""

    def __init__(self, routes: Sequence[tuple[Sequence[str], Starlette]], default: Starlette) -> None:
        self._routes = tuple((prefix, app) for prefixes, app in routes for prefix in prefixes)
        self._default = default
        self._lifespan = _all_lifespans([*(app for _, app in routes), default])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await Starlette(lifespan=self._lifespan)(scope, receive, send)
            return
        await self._app_for(scope["path"])(scope, receive, send)

    def _app_for(self, path: str) -> ASGIApp:
        for prefix, app in self._routes:
            if path == prefix or path.startswith(prefix + "/"):
                return app
        return self._default


def _all_lifespans(apps: Sequence[Starlette]) -> Lifespan[Starlette]:
    """Start in the order given, stop in the reverse one."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for app in apps:
                await stack.enter_async_context(app.router.lifespan_context(app))
            yield

    return lifespan

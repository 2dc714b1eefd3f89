from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tern.stack.dispatch import ANALYTICS_PREFIXES, ORG_PREFIXES, Dispatch


def named(name: str, log: list[str]) -> Starlette:
    async def answer(_: Request) -> PlainTextResponse:
        return PlainTextResponse(name)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        log.append(f"{name} up")
        yield
        log.append(f"{name} down")

    return Starlette(routes=[Route("/{path:path}", answer)], lifespan=lifespan)


def dispatch(log: list[str]) -> Dispatch:
    routes = [(ANALYTICS_PREFIXES, named("analytics", log)), (ORG_PREFIXES, named("org", log))]
    return Dispatch(routes, default=named("router", log))


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/v1/organization/usage/completions", "analytics"),
        ("/v1/organization/costs", "analytics"),
        ("/internal/v1/spend", "analytics"),
        ("/v1/organization/projects", "org"),
        ("/v1/projects/proj_1/roles", "org"),
        ("/internal/v1/catalog", "org"),
        ("/v1/organizations", "router"),
        ("/v1/chat/completions", "router"),
        ("/health", "router"),
    ],
)
async def test_a_path_finds_its_service(path: str, service: str) -> None:
    transport = httpx2.ASGITransport(app=dispatch([]))
    async with httpx2.AsyncClient(transport=transport, base_url="http://tern") as client:
        assert (await client.get(path)).text == service


async def test_services_start_in_order_and_stop_in_reverse() -> None:
    log: list[str] = []
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> dict[str, str]:
        return next(messages)

    async def send(_: object) -> None: ...

    await dispatch(log)({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)  # type: ignore[arg-type]
    assert log == ["analytics up", "org up", "router up", "router down", "org down", "analytics down"]

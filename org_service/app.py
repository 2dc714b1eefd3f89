"""The only file that knows all names: builds the adapters, hangs the rooms below their paths, starts the duty."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Final

from fastapi import FastAPI

from org_service import errors, health
from org_service.admin_keys import endpoints as admin_keys
from org_service.audit_logs import endpoints as audit_logs
from org_service.budgets import endpoints as budgets
from org_service.catalog import endpoints as catalog
from org_service.duty import running
from org_service.edge import Edge
from org_service.keys import endpoints as keys
from org_service.last_use import AdminKeyUses
from org_service.metrics import Metrics
from org_service.orgs import endpoints as orgs
from org_service.parts import Parts, build
from org_service.permissions import endpoints as permissions
from org_service.projects import endpoints as projects
from org_service.relay import Relay
from org_service.resolve import endpoints as resolve
from org_service.service_accounts import endpoints as service_accounts
from org_service.settings import Settings
from org_service.users import endpoints as users

OPENAPI_PATH: Final = "/v1/organization/openapi.json"
"""Below the paths that an ingress sends here."""


def create_app(settings: Settings, deps: Parts | None = None) -> FastAPI:
    """The org service. Parts that are handed in stay the caller's: they are used, not closed."""
    parts = deps or build(settings)
    metrics = Metrics()
    relay = Relay(
        parts.database,
        parts.redis,
        metrics,
        poll_seconds=settings.relay_poll_seconds,
        feed_entries=settings.change_feed_entries,
        timeout_seconds=settings.redis_timeout_seconds,
    )
    admin_key_uses = AdminKeyUses(parts.database, settings.last_use_seconds)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        parts.telemetry.open()
        try:
            async with running("relay", relay.run), running("last_use", admin_key_uses.run):
                yield
        finally:
            await admin_key_uses.attempt()
            parts.telemetry.close()
            if deps is None:
                await parts.close()

    app = FastAPI(
        title="Tern organization service",
        version="1",
        lifespan=lifespan,
        openapi_url=OPENAPI_PATH,
        docs_url=None,
        redoc_url=None,
    )
    app.state.parts = parts
    app.state.metrics = metrics
    app.state.admin_key_uses = admin_key_uses
    errors.install(app)
    _mount(app)
    app.add_middleware(Edge, metrics=metrics, max_body_bytes=settings.max_body_bytes)
    app.add_middleware(parts.telemetry.wrap)
    return app


def _mount(app: FastAPI) -> None:
    routers = [
        orgs.router,
        users.router,
        projects.router,
        service_accounts.router,
        keys.router,
        admin_keys.router,
        *budgets.routers,
        *permissions.routers,
        catalog.router,
        audit_logs.router,
        resolve.router,
        health.router,
    ]
    for router in routers:
        app.include_router(router)

"""The three services and the worker in one process, wired to the embedded parts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final, TextIO

from starlette.applications import Starlette

import analytics.app
import analytics.migrate
import org_service.app
import org_service.migrate
import router.app
from analytics.settings import Settings as AnalyticsSettings
from analytics.worker import Worker
from org_service.bootstrap import Installation, Plan, bootstrap
from org_service.settings import Settings as OrgSettings
from router.log import JsonLog
from router.settings import Settings as RouterSettings
from tern.stack.dispatch import ANALYTICS_PREFIXES, ORG_PREFIXES, Dispatch
from tern.stack.home import Home

LAST_USE_SECONDS: Final = 2.0
"""One person at one machine looks soon, and a report costs next to nothing there."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """Addresses of the parts; `base_url` is where this very process will answer, without a path."""

    home: Home
    base_url: str
    org_database_url: str
    analytics_database_url: str
    redis_url: str
    service_token: str

    def router_settings(self) -> RouterSettings:
        return RouterSettings(
            redis_url=self.redis_url,
            org_service_url=self.base_url,
            analytics_url=self.base_url,
            service_token=self.service_token,
            spool_directory=self.home.spool_directory,
            drain_seconds=0,
            report_use_seconds=LAST_USE_SECONDS,
        )

    def org_settings(self) -> OrgSettings:
        return OrgSettings(
            database_url=self.org_database_url,
            redis_url=self.redis_url,
            service_token=self.service_token,
            last_use_seconds=LAST_USE_SECONDS,
        )

    def analytics_settings(self) -> AnalyticsSettings:
        return AnalyticsSettings(
            database_url=self.analytics_database_url,
            redis_url=self.redis_url,
            service_token=self.service_token,
            org_service_url=self.base_url,
            org_service_token=self.service_token,
        )


async def prepare(wiring: Wiring, plan: Plan) -> Installation:
    """Bring both databases up to date, and the organization and the catalog about."""
    await asyncio.to_thread(analytics.migrate.migrate, wiring.analytics_database_url)
    await org_service.migrate.migrate(wiring.org_database_url)  # after it: Alembic's context is a global
    return await bootstrap(wiring.org_database_url, plan)


def build(wiring: Wiring, log: TextIO) -> Dispatch:
    """The one ASGI app. The router comes last up and first down: its calls need the others."""
    analytics_settings = wiring.analytics_settings()
    routes = [
        ((), _worker_room(Worker(analytics_settings))),
        (ANALYTICS_PREFIXES, analytics.app.create_app(analytics_settings)),
        (ORG_PREFIXES, org_service.app.create_app(wiring.org_settings())),
    ]
    return Dispatch(routes, default=router.app.create_app(wiring.router_settings(), log=JsonLog(log)))


def _worker_room(worker: Worker) -> Starlette:
    """The worker as a room without doors: it lives as long as the process serves."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        running = asyncio.create_task(worker.run(), name="analytics.worker")
        yield
        worker.stop()
        await running

    return Starlette(lifespan=lifespan)

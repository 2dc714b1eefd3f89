"""The composition: the only file that knows every name. `create_app(settings, deps)` gives one ASGI app."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from contracts.catalog import Operation, Upstream
from contracts.usage_event import UsageEvent
from router.duties.heartbeat import Heartbeat, Patience
from router.duties.probe import Probe
from router.endpoints.exchange import Exchange
from router.endpoints.health import Health, Ready, Scrape
from router.endpoints.inference import Inference, Walk
from router.endpoints.models import Models
from router.errors import UnknownUrlError
from router.learned import Learned
from router.log import JsonLog
from router.metrics import Metrics
from router.middleware import Edge
from router.open_calls import OpenCalls, Stop
from router.ports import CatalogSource, KeyDirectory, Ledger, SettleOutcome
from router.relay import Relay, RelayLimits
from router.settings import Settings
from router.settle import Settler
from router.snapshot import Snapshots
from router.upstreams import UpstreamFault, Upstreams

DUTY_RESTART_SECONDS: Final = 1.0
SETTLE_SECONDS: Final = 5.0
Duty = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Deps:
    """The world outside, by port. `duties` run from start to stop beside the router's own; each of
    `unready_because` says why new calls should go elsewhere, or None."""

    ledger: Ledger
    directory: KeyDirectory
    catalog: CatalogSource
    duties: tuple[tuple[str, Duty], ...] = ()
    unready_because: tuple[Callable[[], str | None], ...] = ()
    log: JsonLog = field(default_factory=lambda: JsonLog(sys.stderr))


class RouterApp(Starlette):
    """Starlette with one middleware of our own instead of its stack: nothing stands between Edge and routes."""

    def __init__(self, settings: Settings, deps: Deps) -> None:
        self.settings = settings
        self.deps = deps
        self.draining = False
        self.open_calls = OpenCalls()
        self.metrics = Metrics(lambda: len(self.open_calls))
        self.walk = self._walk()
        super().__init__(routes=self._routes(), lifespan=RouterApp.life)
        self.router.redirect_slashes = False
        self.router.default = unknown_url

    def build_middleware_stack(self) -> ASGIApp:
        return Edge(self.router, self.deps.log, self.metrics, lambda: self.draining)

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        """Duties run while inside; at the end every call is settled before anything is closed."""
        self.walk.upstreams.open()
        duties = [asyncio.create_task(self._forever(name, duty), name=name) for name, duty in self._duties()]
        try:
            yield
        finally:
            await self.walk.settler.finish(SETTLE_SECONDS)
            for duty in duties:
                duty.cancel()
            await asyncio.gather(*duties, return_exceptions=True)
            await self.walk.upstreams.close()

    def drain(self) -> None:
        """Unready from now on; every reply asks its client for a new connection."""
        self.draining = True

    def stop_streams(self) -> None:
        """End what still runs, well-formed and settled."""
        for call in self.open_calls:
            call.stop(Stop.SHUTDOWN)

    def unready_because(self) -> list[str]:
        reasons = [reason for ask in self.deps.unready_because if (reason := ask()) is not None]
        return ["draining", *reasons] if self.draining else reasons

    def fault(self, upstream: Upstream, fault: UpstreamFault, ejected: bool) -> None:
        self.metrics.fault(upstream, fault, ejected)
        self.deps.log.warning("upstream_fault", upstream=upstream.id, fault=str(fault), ejected=ejected)

    def settled(self, event: UsageEvent, outcome: SettleOutcome) -> None:
        self.metrics.settled(event, outcome)

    def released(self, call_id: str) -> None:
        self.metrics.released()

    def unsettled(self, call_id: str, error: Exception) -> None:
        self.metrics.unsettled()
        self.deps.log.error("unsettled", request_id=call_id, error=str(error))

    def _walk(self) -> Walk:
        settings, deps = self.settings, self.deps
        learned = Learned(settings.output_estimate_tokens, settings.tokens_per_second)
        upstreams = Upstreams(
            settings.upstream_connections, settings.connect_timeout_seconds, settings.eject_after_faults
        )
        return Walk(
            settings=settings,
            directory=deps.directory,
            ledger=deps.ledger,
            snapshots=Snapshots(deps.catalog),
            upstreams=upstreams,
            relay=Relay(upstreams, deps.ledger, _limits(settings), self),
            settler=Settler(deps.ledger, learned, self),
            learned=learned,
            open_calls=self.open_calls,
        )

    def _routes(self) -> list[Route]:
        models = Models(self.walk.directory, self.walk.snapshots)
        return [
            *(Route(f"/v1/{operation.value}", Inference(operation, self.walk)) for operation in Operation),
            Route("/v1/models", models),
            Route("/v1/models/{model:path}", models),
            Route("/health", Health()),
            Route("/ready", Ready(self.unready_because)),
            Route("/metrics", Scrape(self.metrics)),
        ]

    def _duties(self) -> list[tuple[str, Duty]]:
        walk, log = self.walk, self.deps.log
        heartbeat = Heartbeat(walk.open_calls, walk.ledger, walk.directory, _patience(self.settings), log)
        probe = Probe(walk.snapshots, walk.upstreams, self.settings.probe_seconds, log)
        return [("heartbeat", heartbeat.run), ("probe", probe.run), *self.deps.duties]

    async def _forever(self, name: str, duty: Duty) -> None:
        """A duty that fails starts again; its failure is loud, never the end of the process."""
        while True:
            try:
                await duty()
            except Exception as error:  # noqa: BLE001 - the loop of the duties
                self.deps.log.error("duty_failed", duty=name, error=repr(error))
            await asyncio.sleep(DUTY_RESTART_SECONDS)


def create_app(settings: Settings, deps: Deps) -> RouterApp:
    """The router over `deps`."""
    return RouterApp(settings, deps)


async def unknown_url(scope: Scope, receive: Receive, send: Send) -> None:
    exchange: Exchange = scope["exchange"]
    raise UnknownUrlError(exchange.method, exchange.path)


def _limits(settings: Settings) -> RelayLimits:
    salt = settings.cache_salt_secret
    return RelayLimits(
        attempts=settings.upstream_attempts,
        frame_cap_bytes=settings.frame_limit_bytes,
        answer_cap_bytes=settings.answer_limit_bytes,
        cache_salt_secret=salt.get_secret_value() if salt else None,
    )


def _patience(settings: Settings) -> Patience:
    return Patience(
        beat_seconds=settings.heartbeat_seconds,
        first_byte_seconds=settings.first_byte_timeout_seconds,
        idle_seconds=settings.idle_timeout_seconds,
        client_stall_seconds=settings.client_stall_timeout_seconds,
        ledger_lost_seconds=settings.ledger_lost_seconds,
        ping_seconds=settings.ping_seconds,
    )

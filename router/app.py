"""The composition: the only file that knows every name. `create_app(settings, deps)` gives one ASGI app."""

from __future__ import annotations

import asyncio
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from contracts.catalog import Operation
from router.broker import AmqpBroker
from router.directory.catalog_source import OrgCatalogSource
from router.directory.key_directory import OrgKeyDirectory
from router.directory.org_client import OrgClient
from router.duties.drain import DirtyShards, Drain
from router.duties.follow import Follower, connect_feed
from router.duties.heartbeat import Heartbeat
from router.duties.metrics import LedgerMetrics
from router.duties.probe import Probe
from router.duties.reap import Reaper
from router.duties.replay import Replay
from router.duties.report_use import ReportUse
from router.endpoints.health import Health, Ready, Scrape
from router.endpoints.inference import Inference, Walk
from router.endpoints.models import Models
from router.endpoints.paths import Paths
from router.learned import Learned
from router.ledger.bounded_ledger import BoundedLedger
from router.ledger.connection import RedisAddress
from router.ledger.kept import KeptSettlements
from router.ledger.pipeline import ScriptPipeline
from router.ledger.recovery import Recovery
from router.ledger.redis_ledger import RedisLedger
from router.ledger.redis_outbox import RedisOutbox
from router.ledger.spend_history import HttpSpendHistory
from router.ledger.spool import Spool
from router.ledger.spooling_ledger import SpoolingLedger
from router.log import JsonLog
from router.metrics import Metrics
from router.middleware import Edge
from router.observe import Observer
from router.open_calls import OpenCalls, Stop
from router.ports import CatalogSource, KeyDirectory, Ledger
from router.relay import Relay
from router.settings import Settings
from router.settle import Settler
from router.snapshot import Snapshots
from router.telemetry import SERVICE_NAME, Telemetry
from router.upstreams.upstreams import Upstreams

DUTY_RESTART_SECONDS: Final = 1.0
SETTLE_SECONDS: Final = 5.0
CLUSTER_SCHEME: Final = "redis+cluster://"
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


@asynccontextmanager
async def connected(settings: Settings, registry: CollectorRegistry, log: JsonLog) -> AsyncIterator[Deps]:
    """The real adapters, closed at the end."""
    url = settings.redis_url.get_secret_value()
    async with AsyncExitStack() as stack:
        org = OrgClient(settings.org_service_url, settings.service_token.get_secret_value())
        stack.push_async_callback(org.close)
        feed = connect_feed(url)
        stack.push_async_callback(feed.aclose)
        ledger, duties = connected_ledger(settings, stack, LedgerMetrics.register(registry))
        directory, catalog = OrgKeyDirectory(org), OrgCatalogSource(org)
        follower = Follower(feed, directory, catalog, registry, log)
        duties.append(("follow", follower.run))
        report = ReportUse(directory.uses, org, settings.report_use_seconds, registry, log)
        stack.push_async_callback(report.finish)
        duties.append(("report_use", report.run))
        yield Deps(ledger, directory, catalog, tuple(duties), (lambda: _without_catalog(catalog),))


def connected_ledger(
    settings: Settings, stack: AsyncExitStack, metrics: LedgerMetrics
) -> tuple[Ledger, list[tuple[str, Duty]]]:
    """The ledger on Redis, what catches its outages and losses, and the duties that keep its books."""
    url, dirty = settings.redis_url.get_secret_value(), DirtyShards()
    address = RedisAddress.from_url(url.replace(CLUSTER_SCHEME, "redis://", 1))
    pipeline = ScriptPipeline(address, cluster=url.startswith(CLUSTER_SCHEME))
    stack.push_async_callback(pipeline.close)
    broker = None if settings.amqp_url is None else AmqpBroker(settings.amqp_url.get_secret_value())
    kept = KeptSettlements(until_drained=broker is not None)
    recovery = Recovery(pipeline, kept)
    if settings.analytics_url is not None:
        history = HttpSpendHistory(settings.analytics_url, settings.service_token.get_secret_value())
        stack.push_async_callback(history.close)
        recovery.history = history
    on_redis = RedisLedger(
        pipeline, lease_seconds=settings.lease_seconds, on_settled=dirty.mark, kept=kept, recovery=recovery
    )
    ledger: Ledger = on_redis
    reaper = Reaper(on_redis)
    duties: list[tuple[str, Duty]] = [("reap", reaper.run)]
    for part in (kept, recovery, reaper):
        metrics.watch(part)
    if settings.spool_directory is not None:
        spool = Spool(settings.spool_directory)
        stack.callback(spool.close)
        metrics.watch(spool)
        duties.append(("replay", Replay(spool, on_redis).run))
        ledger = SpoolingLedger(ledger, spool)
    if settings.ledger_outage == "bounded":
        ledger = BoundedLedger(ledger, settings.bounded_allowance_nano_usd)
    if broker is not None:
        stack.push_async_callback(broker.close)
        recovery.is_queue_empty = broker.is_queue_empty
        outbox = RedisOutbox(pipeline, f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}")
        drain = Drain(outbox, broker, dirty, on_emptied=kept.emptied)
        metrics.watch(drain)
        duties.append(("drain", drain.run))
    return ledger, duties


class RouterApp(Starlette):
    """Starlette with one middleware of our own instead of its stack: nothing stands between Edge and routes.
    The walk is put together when the app starts, because its adapters belong to the running loop."""

    walk: Walk
    paths: Paths

    def __init__(self, settings: Settings, deps: Deps | None, log: JsonLog, telemetry: Telemetry) -> None:
        self.settings = settings
        self.log = log
        self.draining = False
        self.open_calls = OpenCalls()
        self.metrics = Metrics(lambda: len(self.open_calls))
        self.telemetry = telemetry
        self._given = deps
        super().__init__(lifespan=RouterApp.life)

    def build_middleware_stack(self) -> ASGIApp:
        """Only the lifespan goes through Starlette's router."""
        return self.telemetry.wrap(Edge(self._call, self.log, self.metrics, lambda: self.draining))

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self.paths if scope["type"] == "http" else self.router)(scope, receive, send)

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        """Duties run while inside; at the end every call is settled before anything is closed."""
        outside = connected(self.settings, self.metrics.registry, self.log)
        async with outside if self._given is None else nullcontext(self._given) as deps:
            walk = self.walk = self._assemble(deps)
            self.paths = self._paths(deps)
            walk.upstreams.open(self.telemetry.trace_configs())
            duties = [asyncio.create_task(self._forever(*duty), name=duty[0]) for duty in self._duties(deps)]
            try:
                yield
            finally:
                await walk.settler.finish(SETTLE_SECONDS)
                for duty in duties:
                    duty.cancel()
                await asyncio.gather(*duties, return_exceptions=True)
                await walk.upstreams.close()
                await asyncio.to_thread(self.telemetry.close)

    def drain(self) -> None:
        """Unready from now on; every reply asks its client for a new connection."""
        self.draining = True

    def stop_streams(self) -> None:
        """End what still runs, well-formed and settled."""
        for call in self.open_calls:
            call.stop(Stop.SHUTDOWN)

    def _assemble(self, deps: Deps) -> Walk:
        settings, observer = self.settings, Observer(self.metrics, self.log)
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
            relay=Relay(upstreams, deps.ledger, settings.relay_limits(), observer),
            settler=Settler(deps.ledger, learned, observer),
            learned=learned,
            open_calls=self.open_calls,
        )

    def _paths(self, deps: Deps) -> Paths:
        models = Models(self.walk.directory, self.walk.snapshots)

        def unready_because() -> list[str]:
            reasons = [reason for ask in deps.unready_because if (reason := ask()) is not None]
            return ["draining", *reasons] if self.draining else reasons

        endpoints: dict[str, ASGIApp] = {
            **{f"/v1/{operation.value}": Inference(operation, self.walk) for operation in Operation},
            "/v1/models": models,
            "/health": Health(),
            "/ready": Ready(unready_because),
            "/metrics": Scrape(self.metrics),
        }
        return Paths(endpoints, models)

    def _duties(self, deps: Deps) -> list[tuple[str, Duty]]:
        walk, patience = self.walk, self.settings.patience()
        heartbeat = Heartbeat(walk.open_calls, walk.ledger, walk.directory, patience, self.log)
        probe = Probe(walk.snapshots, walk.upstreams, self.settings.probe_seconds, self.log)
        return [("heartbeat", heartbeat.run), ("probe", probe.run), *deps.duties]

    async def _forever(self, name: str, duty: Duty) -> None:
        """A duty that fails starts again; its failure is loud, never the end of the process."""
        while True:
            async with running(duty) as task:
                await asyncio.wait({task})
            self.log.error("duty_failed", duty=name, error=repr(task.exception()))
            await asyncio.sleep(DUTY_RESTART_SECONDS)


def create_app(
    settings: Settings,
    deps: Deps | None = None,
    log: JsonLog | None = None,
    telemetry: Telemetry | None = None,
) -> RouterApp:
    """The router over `deps`; without them over the real adapters that `settings` names."""
    log = log or JsonLog(sys.stderr, settings.log_level)
    return RouterApp(settings, deps, log, telemetry or Telemetry.to(settings.traces_endpoint, SERVICE_NAME))


@asynccontextmanager
async def running(duty: Duty) -> AsyncIterator[asyncio.Task[None]]:
    """The duty as a task that does not outlive the block."""
    task = asyncio.ensure_future(duty())
    try:
        yield task
    finally:
        task.cancel()


def _without_catalog(catalog: OrgCatalogSource) -> str | None:
    return None if catalog.is_loaded else "no catalog yet"

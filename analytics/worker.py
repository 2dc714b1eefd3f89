"""The worker: a consumer that survives its source and its database.

A fault of either closes the source, so that what was taken goes back, and it is opened again only when the
database answers. Waiting for a database thus costs a message one of its deliveries at most, and never all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from prometheus_client import CollectorRegistry

from analytics.consume import Consumer, Window
from analytics.db import Database
from analytics.deliveries import Source
from analytics.errors import AnalyticsError, DatabaseUnavailableError, SourceUnavailableError
from analytics.metrics import WorkerMetrics
from analytics.outbox_source import OutboxSource
from analytics.rabbit_source import RabbitSource
from analytics.record import DatabaseRecorder
from analytics.settings import Settings
from analytics.telemetry import Telemetry
from contracts.log_line import say

log = logging.getLogger(__name__)

PARTITION_CHECK_SECONDS: Final = 3600.0
SERVICE_NAME: Final = "tern-analytics-worker"


class NoSourceError(AnalyticsError):
    """Neither amqp_url nor redis_url is set: there is nothing to consume."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


def build_source(settings: Settings) -> Source:
    if settings.amqp_url is not None:
        return RabbitSource(settings.amqp_url.get_secret_value(), settings.prefetch_messages)
    if settings.redis_url is not None:
        return OutboxSource(
            settings.redis_url.get_secret_value(), settings.claim_after_seconds, settings.worker_name
        )
    raise NoSourceError("the worker needs amqp_url or redis_url")


class Worker:
    """`run()` until `stop()` or cancelled; both may be used from one event loop only."""

    def __init__(
        self,
        settings: Settings,
        source: Source | None = None,
        registry: CollectorRegistry | None = None,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._settings = settings
        self._now = now
        self._source = source or build_source(settings)
        self._telemetry = Telemetry.to(settings.traces_endpoint, SERVICE_NAME)
        self._database = Database(
            settings.database_url.get_secret_value(), 2, settings.database_timeout_seconds, self._telemetry
        )
        self.metrics = WorkerMetrics(registry or CollectorRegistry())
        self._consumer = Consumer(
            source=self._source,
            recorder=DatabaseRecorder(self._database),
            window=Window(timedelta(days=settings.late_days), timedelta(seconds=settings.future_seconds), now),
            metrics=self.metrics,
            batch_events=settings.batch_events,
            poll_seconds=settings.poll_seconds,
        )
        self._stopping = asyncio.Event()
        self._partitions_checked_at: float | None = None
        self.ready = False

    def stop(self) -> None:
        """Finish the turn that is under way, then end."""
        self._stopping.set()

    async def run(self) -> None:
        await self._database.open()
        pause_seconds = self._settings.retry_seconds
        try:
            while not self._stopping.is_set():
                if await self._serve():
                    pause_seconds = self._settings.retry_seconds
                await self._pause(pause_seconds)
                pause_seconds = min(2 * pause_seconds, self._settings.retry_max_seconds)
        finally:
            await self._source.close()
            await self._database.close()
            self._telemetry.close()

    async def _serve(self) -> bool:
        """Open and consume until told to stop or something fails; whether any turn succeeded."""
        succeeded = False
        try:
            await self._ensure_partitions()
            await self._source.open()
            self._set_ready(True)
            say(log, logging.INFO, "consuming")
            while not self._stopping.is_set():
                await self._ensure_partitions()
                await self._consumer.turn()
                succeeded = True
        except (SourceUnavailableError, DatabaseUnavailableError) as error:
            self._note(error, "database" if isinstance(error, DatabaseUnavailableError) else "source")
        except Exception as error:  # noqa: BLE001 - the consumer loop: a bug must not lose the deliveries taken
            self._note(error, "bug")
        finally:
            self._set_ready(False)
            await self._source.close()
        return succeeded

    def _note(self, error: Exception, part: str) -> None:
        self.metrics.faults.labels(part).inc()
        if part == "bug":
            say(log, logging.ERROR, "consume_failed", raised=error, part=part)
        else:
            say(log, logging.WARNING, "consume_interrupted", part=part, reason=str(error))

    def _set_ready(self, ready: bool) -> None:
        self.ready = ready
        self.metrics.connected.set(ready)

    async def _ensure_partitions(self) -> None:
        loop_time = asyncio.get_running_loop().time()
        checked_at = self._partitions_checked_at
        if checked_at is not None and loop_time - checked_at < PARTITION_CHECK_SECONDS:
            return
        now = self._now()
        from_at = now - timedelta(days=self._settings.late_days + 1)
        until_at = now + timedelta(days=self._settings.partitions_ahead_days)
        await self._database.ask("ensure_partitions", {"from_at": from_at, "until_at": until_at})
        self._partitions_checked_at = loop_time

    async def _pause(self, seconds: float) -> None:
        """Wait, with jitter so that workers do not come back all at once; a stop ends the wait."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds * random.uniform(0.5, 1.0))


async def run(settings: Settings) -> None:
    """A worker until cancelled."""
    await Worker(settings).run()

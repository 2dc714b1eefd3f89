"""The duty that tells org_service when keys were last used: many keys at a time, and no request waits for it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from prometheus_client import CollectorRegistry, Counter

from contracts.key_use import KEY_USES_PER_REPORT
from router.directory.key_uses import KeyUses
from router.directory.org_client import OrgClient, OrgUnavailableError
from router.log import JsonLog

FINISH_SECONDS: Final = 3.0


class ReportUseMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.failures = Counter(
            "tern_router_report_use_failures", "Reports that org_service did not take.", registry=registry
        )
        self.lost = Counter(
            "tern_router_report_use_lost", "Last uses of keys given up: no room while kept.", registry=registry
        )


class ReportUse:
    """What org_service does not take is kept and told at the next turn, as far as `uses` has room for it."""

    def __init__(
        self, uses: KeyUses, org: OrgClient, every_seconds: float, registry: CollectorRegistry, log: JsonLog
    ) -> None:
        self._uses = uses
        self._org = org
        self._every_seconds = every_seconds
        self._metrics = ReportUseMetrics(registry)
        self._log = log

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._every_seconds)
            await self.attempt()

    async def attempt(self) -> None:
        """Tell everything that is noted now."""
        try:
            await self._tell()
        except OrgUnavailableError as error:
            self._metrics.failures.inc()
            self._metrics.lost.inc(self._uses.trim())
            self._log.warning("report_use", error=str(error), kept=len(self._uses))

    async def finish(self) -> None:
        """The last turn of a router that leaves; it waits for nobody longer than FINISH_SECONDS."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FINISH_SECONDS):
                await self.attempt()

    async def _tell(self) -> None:
        for batch in self._uses.batches(KEY_USES_PER_REPORT):
            await self._org.report_uses(batch)
            self._uses.told(batch)

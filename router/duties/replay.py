"""The duty that brings spooled settlements to the ledger as soon as it answers again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from router.ledger.spool import Spool
from router.ports import Ledger, LedgerUnavailableError


@dataclass(slots=True)
class Replay:
    spool: Spool
    ledger: Ledger
    interval_seconds: float = 1.0
    replayed_total: int = field(default=0, init=False)

    async def run(self) -> None:
        while True:
            await self.attempt()
            await asyncio.sleep(self.interval_seconds)

    async def attempt(self) -> None:
        """Replay until the spool is empty or the ledger fails again."""
        try:
            self.replayed_total += await self.spool.replay(self.ledger.replay)
        except LedgerUnavailableError:
            return

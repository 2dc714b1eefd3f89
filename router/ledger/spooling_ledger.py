"""SpoolingLedger: settlements survive the ledger's absence."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.usage_event import UsageEvent
from router.ledger.passing_ledger import PassingLedger
from router.ledger.spool import Spool
from router.ports import LedgerUnavailableError, Reservation, SettleOutcome


@dataclass(slots=True)
class SpoolingLedger(PassingLedger):
    """What the ledger cannot take waits in `spool`, from where the duty `replay` brings it back."""

    spool: Spool

    async def settle(self, reservation: Reservation, event: UsageEvent) -> SettleOutcome:
        try:
            return await self.ledger.settle(reservation, event)
        except LedgerUnavailableError:
            await self.spool.append(event)
            return SettleOutcome.SPOOLED

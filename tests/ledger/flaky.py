"""A ledger that may be out of reach, or do what it is asked and lose the reply."""

from __future__ import annotations

from dataclasses import dataclass, field

from contracts.usage_event import UsageEvent
from router.ledger.memory_ledger import MemoryLedger
from router.ports import LedgerUnavailableError, Refused, Reservation, ReserveRequest, SettleOutcome


@dataclass(slots=True)
class FlakyLedger(MemoryLedger):
    is_down: bool = False
    loses_replies: bool = False
    seen: list[str] = field(default_factory=list)

    async def reserve(self, request: ReserveRequest) -> Reservation | Refused:
        if self.is_down:
            raise LedgerUnavailableError("down")
        return await MemoryLedger.reserve(self, request)

    async def replay(self, event: UsageEvent) -> SettleOutcome:
        if self.is_down:
            raise LedgerUnavailableError("down")
        outcome = await MemoryLedger.replay(self, event)
        self.seen.append(event.event_id)
        if self.loses_replies:
            raise LedgerUnavailableError("the reply was lost")
        return outcome

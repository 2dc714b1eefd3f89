"""A Ledger in front of another one: what stands around the ledger says only what it does otherwise."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.grant import Grant
from contracts.pricing import Tokens
from contracts.usage_event import UsageEvent
from router.ports import (
    Balance,
    ExtendOutcome,
    Ledger,
    Overdue,
    Refused,
    Reservation,
    ReserveRequest,
    SettleOutcome,
)


@dataclass(slots=True)
class PassingLedger:
    """Every step is passed on as it is."""

    ledger: Ledger

    async def reserve(self, request: ReserveRequest) -> Reservation | Refused:
        return await self.ledger.reserve(request)

    async def extend(
        self, reservation: Reservation, counted: Tokens, more_nano_usd: int = 0, more_tokens: int = 0
    ) -> ExtendOutcome:
        return await self.ledger.extend(reservation, counted, more_nano_usd, more_tokens)

    async def settle(self, reservation: Reservation, event: UsageEvent) -> SettleOutcome:
        return await self.ledger.settle(reservation, event)

    async def replay(self, event: UsageEvent) -> SettleOutcome:
        return await self.ledger.replay(event)

    async def release(self, call_id: str, grant: Grant) -> None:
        await self.ledger.release(call_id, grant)

    async def overdue(self, shard: int, limit: int) -> list[Overdue]:
        return await self.ledger.overdue(shard, limit)

    async def reap(self, overdue: Overdue, event: UsageEvent) -> bool:
        return await self.ledger.reap(overdue, event)

    async def balances(self, grant: Grant) -> list[Balance]:
        return await self.ledger.balances(grant)

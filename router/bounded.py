"""The option `bounded` for a ledger that is down: a fixed allowance per organization and replica, then no more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from contracts.grant import Grant
from contracts.pricing import Tokens
from contracts.usage_event import UsageEvent
from router.ledger_plan import from_us, to_us
from router.ports import (
    Balance,
    ExtendOutcome,
    Headroom,
    Ledger,
    LedgerUnavailableError,
    Overdue,
    Refused,
    Reservation,
    ReserveRequest,
    SettleOutcome,
)


@dataclass(slots=True)
class BoundedLedger:
    """A Ledger that admits on credit during an outage. Overspend of an outage is at most replicas x (allowance +
    what streams use until they end for want of an extension); what is admitted is settled like any call, later.

    `allowance_nano_usd` is used up per outage: it is whole again once the ledger has answered.
    """

    ledger: Ledger
    allowance_nano_usd: int
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    admitted_total: int = field(default=0, init=False)
    _used: dict[str, int] = field(default_factory=lambda: defaultdict(int), init=False)

    async def reserve(self, request: ReserveRequest) -> Reservation | Refused:
        try:
            verdict = await self.ledger.reserve(request)
        except LedgerUnavailableError:
            admitted = self._on_credit(request)
            if admitted is None:
                raise
            return admitted
        if self._used:
            self._used.clear()
        return verdict

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

    def _on_credit(self, request: ReserveRequest) -> Reservation | None:
        """None where the allowance is used up."""
        now_us = to_us(self.clock())
        in_force = [amount for amount in request.amounts if to_us(amount.price.effective_from) <= now_us]
        organization_id = request.grant.organization_id
        if not in_force or self._used[organization_id] + in_force[-1].amount_nano_usd > self.allowance_nano_usd:
            return None
        self._used[organization_id] += in_force[-1].amount_nano_usd
        self.admitted_total += 1
        return Reservation(
            call_id=request.call_id,
            grant=request.grant,
            model_id=request.model_id,
            occurred_at=from_us(now_us),
            price=in_force[-1].price,
            reserved_nano_usd=in_force[-1].amount_nano_usd,
            reserved_tokens=request.tokens,
            headroom=Headroom(),
            seed=request.seed,
        )

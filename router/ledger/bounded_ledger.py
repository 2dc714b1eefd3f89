"""A ledger that lets a little through while the real one is away: `ledger_outage=bounded`.

Each organization may spend a fixed allowance per replica and outage. Calls let through are settled like all
others: the spool keeps their events, and the ledger charges calls that it did not know.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from contracts.grant import Grant
from contracts.pricing import Tokens
from contracts.usage_event import UsageEvent
from router.ledger.passing_ledger import PassingLedger
from router.ports import (
    ExtendOutcome,
    Headroom,
    LedgerUnavailableError,
    PricedAmount,
    Refused,
    Reservation,
    ReserveRequest,
    SettleOutcome,
    UnpricedError,
)


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class BoundedLedger(PassingLedger):
    """Limits other than the allowance are not checked while the ledger is away. The router's own clock dates the
    calls that are let through, because no other is to be had."""

    allowance_nano_usd: int
    now: Callable[[], datetime] = utc_now
    _lent: dict[str, int] = field(default_factory=dict)
    """By organization, in this outage."""
    _loans: dict[str, int] = field(default_factory=dict)
    """By call that was let through and is not over."""

    async def reserve(self, request: ReserveRequest) -> Reservation | Refused:
        try:
            verdict = await self.ledger.reserve(request)
        except LedgerUnavailableError:
            priced = _in_force(request, self.now())
            if not self._lend(request.call_id, request.grant.organization_id, priced.amount_nano_usd):
                raise
            return self._let_through(request, priced)
        self._lent.clear()
        return verdict

    async def extend(
        self, reservation: Reservation, counted: Tokens, more_nano_usd: int = 0, more_tokens: int = 0
    ) -> ExtendOutcome:
        call_id, organization_id = reservation.call_id, reservation.grant.organization_id
        if call_id not in self._loans:
            return await self.ledger.extend(reservation, counted, more_nano_usd, more_tokens)
        lent = not more_nano_usd or self._lend(call_id, organization_id, more_nano_usd)
        return ExtendOutcome.EXTENDED if lent else ExtendOutcome.REFUSED

    async def settle(self, reservation: Reservation, event: UsageEvent) -> SettleOutcome:
        self._return(reservation.call_id, event.organization_id, event.cost_nano_usd)
        return await self.ledger.settle(reservation, event)

    async def release(self, call_id: str, grant: Grant) -> None:
        """Also towards the real ledger: it may have reserved without being heard."""
        self._return(call_id, grant.organization_id, 0)
        await self.ledger.release(call_id, grant)

    def _lend(self, call_id: str, organization_id: str, amount_nano_usd: int) -> bool:
        lent = self._lent.get(organization_id, 0) + amount_nano_usd
        if lent > self.allowance_nano_usd:
            return False
        self._lent[organization_id] = lent
        self._loans[call_id] = self._loans.get(call_id, 0) + amount_nano_usd
        return True

    def _return(self, call_id: str, organization_id: str, spent_nano_usd: int) -> None:
        """What a call did not spend may be lent again in the same outage."""
        loan = self._loans.pop(call_id, None)
        if loan is not None and organization_id in self._lent:
            self._lent[organization_id] += spent_nano_usd - loan

    def _let_through(self, request: ReserveRequest, priced: PricedAmount) -> Reservation:
        return Reservation(
            call_id=request.call_id,
            grant=request.grant,
            model_id=request.model_id,
            occurred_at=self.now(),
            price=priced.price,
            reserved_nano_usd=priced.amount_nano_usd,
            reserved_tokens=request.tokens,
            headroom=Headroom(),
            seed=request.seed,
        )


def _in_force(request: ReserveRequest, now: datetime) -> PricedAmount:
    started = [priced for priced in request.amounts if priced.price.effective_from <= now]
    if not started:
        raise UnpricedError(f"no price of {request.model_id} is in force")
    return started[-1]

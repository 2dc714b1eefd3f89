"""While the ledger is away an organization spends its allowance and no more, and everything is charged later."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from contracts.catalog import Operation
from contracts.pricing import Tokens
from contracts.usage_event import CallStatus, UsageEvent
from router.ledger.bounded_ledger import BoundedLedger
from router.ledger.memory_ledger import MemoryLedger
from router.ports import (
    EventSeed,
    ExtendOutcome,
    LedgerUnavailableError,
    PricedAmount,
    Refused,
    Reservation,
    ReserveRequest,
    SettleOutcome,
)
from router.settings import Settings
from tests.fakes.directory import PRICE
from tests.router.conftest import settings_for_tests
from tests.router.test_settle import GRANT

ALLOWANCE = 1000


class Outage(MemoryLedger):
    """A ledger that can go away for reserve."""

    away = True

    async def reserve(self, request: ReserveRequest) -> Reservation | Refused:
        if self.away:
            raise LedgerUnavailableError
        return await super().reserve(request)


def request_of(call_id: str, amount: int, organization: str = "org_1") -> ReserveRequest:
    grant = GRANT.model_copy(update={"organization_id": organization})
    seed = EventSeed(Operation.CHAT, True, 10)
    return ReserveRequest(call_id, grant, "m", 10, (PricedAmount(PRICE, amount),), seed)


async def reserved(ledger: BoundedLedger, call_id: str, amount: int, organization: str = "org_1") -> Reservation:
    reservation = await ledger.reserve(request_of(call_id, amount, organization))
    assert isinstance(reservation, Reservation)
    return reservation


def event_of(reservation: Reservation, cost: int) -> UsageEvent:
    fields: dict[str, Any] = {
        "event_id": reservation.call_id,
        "occurred_at": reservation.occurred_at,
        "organization_id": reservation.grant.organization_id,
        "project_id": "proj_1",
        "key_id": "key_1",
        "owner_kind": "user",
        "owner_id": "user_1",
        "operation": "chat/completions",
        "model_id": "m",
        "usage_source": "reported",
        "status": CallStatus.OK,
        "tokens": Tokens(),
        "cost_nano_usd": cost,
        "price_version": PRICE.version,
    }
    return UsageEvent(**fields)


async def test_each_organization_gets_its_allowance_and_no_more() -> None:
    ledger = BoundedLedger(Outage(), ALLOWANCE)
    await reserved(ledger, "a", 600)
    await reserved(ledger, "b", 400)
    with pytest.raises(LedgerUnavailableError):
        await ledger.reserve(request_of("c", 1))
    await reserved(ledger, "d", ALLOWANCE, "org_2")


async def test_what_a_call_did_not_spend_may_be_lent_again() -> None:
    ledger = BoundedLedger(Outage(), ALLOWANCE)
    reservation = await reserved(ledger, "a", 900)
    assert await ledger.settle(reservation, event_of(reservation, 100)) is SettleOutcome.UNKNOWN
    await reserved(ledger, "b", 900)
    with pytest.raises(LedgerUnavailableError):
        await ledger.reserve(request_of("c", 1))


async def test_a_stream_is_extended_within_the_allowance_only() -> None:
    ledger = BoundedLedger(Outage(), ALLOWANCE)
    reservation = await reserved(ledger, "a", 600)
    assert await ledger.extend(reservation, Tokens(), 400, 5) is ExtendOutcome.EXTENDED
    assert await ledger.extend(reservation, Tokens()) is ExtendOutcome.EXTENDED
    assert await ledger.extend(reservation, Tokens(), 1, 1) is ExtendOutcome.REFUSED


async def test_the_ledgers_return_ends_the_outage_and_charges_what_was_let_through() -> None:
    inner = Outage()
    ledger = BoundedLedger(inner, ALLOWANCE)
    reservation = await reserved(ledger, "a", ALLOWANCE)
    inner.away = False
    await reserved(ledger, "b", 5000)
    await ledger.settle(reservation, event_of(reservation, 70))
    inner.away = True
    await reserved(ledger, "c", ALLOWANCE)
    [organization, *_] = await ledger.balances(GRANT)
    assert set(organization.spent_nano_usd.values()) == {70}


def test_nothing_is_let_through_without_a_place_for_its_settlement() -> None:
    with pytest.raises(ValidationError, match="spool_directory"):
        settings_for_tests(ledger_outage="bounded")
    assert isinstance(settings_for_tests(ledger_outage="bounded", spool_directory="/spool"), Settings)

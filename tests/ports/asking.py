"""Asking a ledger of the suite, and what to expect of its balances."""

from __future__ import annotations

from contracts.grant import Grant
from router.ports import Balance, Refused, Reservation, ReserveRequest
from tests.ports.conftest import Bench

DAY, MONTH = "d2026-11-20", "m2026-11"


async def admitted(bench: Bench, asked: ReserveRequest) -> Reservation:
    verdict = await bench.ledger.reserve(asked)
    assert isinstance(verdict, Reservation), verdict
    return verdict


async def refused(bench: Bench, asked: ReserveRequest) -> Refused:
    verdict = await bench.ledger.reserve(asked)
    assert isinstance(verdict, Refused), verdict
    return verdict


async def balances(bench: Bench, holder: Grant) -> list[Balance]:
    return await bench.ledger.balances(holder)


def nothing_is_open(found: list[Balance]) -> bool:
    return all(
        balance.slots == 0
        and {period: held for period, held in balance.held_nano_usd.items() if held}
        == {period: spent for period, spent in balance.spent_nano_usd.items() if spent}
        for balance in found
    )

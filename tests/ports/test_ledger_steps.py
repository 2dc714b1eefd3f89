"""How a call ends in every ledger: the same assertions on the twin, on Redis and on Redis Cluster."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contracts.pricing import Tokens
from contracts.topology import shard_of
from contracts.usage_event import UsageSource
from router.duties.reap import Reaper, reaped_event
from router.ports import (
    Dimension,
    ExtendOutcome,
    LedgerUnavailableError,
    SettleOutcome,
)
from tests.ledger.calls import START, event, grant, rate, request, spend
from tests.ports.asking import DAY, MONTH, admitted, balances, nothing_is_open, refused
from tests.ports.conftest import LEASE_SECONDS, Bench


async def test_a_reservation_is_held_on_all_four_levels(bench: Bench) -> None:
    holder = grant()
    await admitted(bench, request(holder, amount=1000))
    for balance in await balances(bench, holder):
        assert balance.held_nano_usd == {DAY: 1000, MONTH: 1000, "all": 1000}
        assert balance.spent_nano_usd == {}
        assert balance.slots == 1


async def test_settling_spends_what_was_used_and_gives_back_the_rest(bench: Bench) -> None:
    holder = grant()
    reservation = await admitted(bench, request(holder, amount=100_000))
    assert await bench.ledger.settle(reservation, event(reservation)) is SettleOutcome.SETTLED
    for balance in await balances(bench, holder):
        assert balance.spent_nano_usd == {DAY: 7000, MONTH: 7000, "all": 7000}
        assert balance.held_nano_usd == balance.spent_nano_usd
        assert balance.slots == 0


async def test_settling_twice_is_one_settlement(bench: Bench) -> None:
    holder = grant()
    reservation = await admitted(bench, request(holder))
    await bench.ledger.settle(reservation, event(reservation))
    before = await balances(bench, holder)
    assert await bench.ledger.settle(reservation, event(reservation)) is SettleOutcome.ALREADY
    assert await balances(bench, holder) == before


async def test_an_unknown_call_is_charged_in_the_period_it_occurred_in(bench: Bench) -> None:
    holder = grant()
    reservation = await admitted(bench, request(grant("org_other")))
    stranger = replace(reservation, call_id="never-reserved", grant=holder)
    bench.clock.turn(40 * 24 * 3600)
    assert await bench.ledger.settle(stranger, event(stranger)) is SettleOutcome.UNKNOWN
    for balance in await balances(bench, holder):
        assert balance.spent_nano_usd == {DAY: 7000, MONTH: 7000, "all": 7000}
        assert balance.held_nano_usd == balance.spent_nano_usd
    assert await bench.ledger.settle(stranger, event(stranger)) is SettleOutcome.ALREADY


async def test_tokens_are_corrected_when_settled_up_and_down(bench: Bench) -> None:
    holder = grant(key={"rates": (rate(tokens=1000),)})
    small = await admitted(bench, request(holder, tokens=400))
    large = await admitted(bench, request(holder, tokens=400))
    await bench.ledger.settle(small, event(small, Tokens(input=10, output=10)))
    assert (await admitted(bench, request(holder, tokens=1))).headroom.remaining_tokens == 1000 - 400 - 20 - 1
    await bench.ledger.settle(large, event(large, Tokens(input=1000, output=1400)))
    verdict = await refused(bench, request(holder, tokens=100))
    assert (verdict.remaining, verdict.possible) == (1000 - 20 - 1 - 2400, True)
    assert verdict.retry_after_ms == round((100 + 1421) / 1000 * 60_000)


async def test_a_slot_returns_with_its_reservation(bench: Bench) -> None:
    holder = grant(project={"concurrency": 2})
    first = await admitted(bench, request(holder))
    second = await admitted(bench, request(holder))
    verdict = await refused(bench, request(holder))
    assert (verdict.dimension, verdict.limit, verdict.remaining) == (Dimension.CONCURRENCY, 2, 0)
    await bench.ledger.settle(first, event(first))
    await admitted(bench, request(holder))
    await bench.ledger.release(second.call_id, holder)
    await admitted(bench, request(holder))
    await refused(bench, request(holder))


async def test_an_extension_is_all_or_nothing_over_the_levels(bench: Bench) -> None:
    holder = grant(organization={"spend": (spend(10_000),)}, key={"spend": (spend(1500),)})
    reservation = await admitted(bench, request(holder, amount=1000))
    assert await bench.ledger.extend(reservation, Tokens(output=1), more_nano_usd=501) is ExtendOutcome.REFUSED
    assert [balance.held_nano_usd["all"] for balance in await balances(bench, holder)] == [1000] * 4
    assert await bench.ledger.extend(reservation, Tokens(output=2), more_nano_usd=500) is ExtendOutcome.EXTENDED
    assert [balance.held_nano_usd["all"] for balance in await balances(bench, holder)] == [1500] * 4


async def test_an_extension_is_never_refused_for_tokens(bench: Bench) -> None:
    holder = grant(key={"rates": (rate(tokens=100),)})
    reservation = await admitted(bench, request(holder, tokens=100))
    assert await bench.ledger.extend(reservation, Tokens(), more_tokens=50) is ExtendOutcome.EXTENDED
    assert (await refused(bench, request(holder, tokens=10))).remaining == -50


async def test_a_settled_call_cannot_be_extended(bench: Bench) -> None:
    reservation = await admitted(bench, request(grant()))
    await bench.ledger.settle(reservation, event(reservation))
    assert await bench.ledger.extend(reservation, Tokens()) is ExtendOutcome.GONE


async def test_a_reserve_asked_twice_holds_once(bench: Bench) -> None:
    holder = grant()
    asked = request(holder)
    first = await admitted(bench, asked)
    bench.clock.turn(1)
    again = await admitted(bench, asked)
    assert (again.occurred_at, again.reserved_nano_usd) == (first.occurred_at, first.reserved_nano_usd)
    assert [balance.slots for balance in await balances(bench, holder)] == [1] * 4


async def test_a_released_call_is_unspent_and_a_late_reserve_of_it_cannot_leak(bench: Bench) -> None:
    holder = grant(key={"rates": (rate(tokens=1000),)})
    early, late = request(holder, tokens=600), request(holder, tokens=600)
    await admitted(bench, early)
    await bench.ledger.release(early.call_id, holder)
    await bench.ledger.release(late.call_id, holder)
    for asked in (early, late):
        with pytest.raises(LedgerUnavailableError):
            await bench.ledger.reserve(asked)
    assert nothing_is_open(await balances(bench, holder))
    assert (await admitted(bench, request(holder, tokens=1))).headroom.remaining_tokens == 999


async def test_releasing_a_settled_call_changes_nothing(bench: Bench) -> None:
    holder = grant()
    reservation = await admitted(bench, request(holder))
    await bench.ledger.settle(reservation, event(reservation))
    before = await balances(bench, holder)
    await bench.ledger.release(reservation.call_id, holder)
    assert await balances(bench, holder) == before
    assert await bench.ledger.settle(reservation, event(reservation)) is SettleOutcome.ALREADY


async def test_an_abandoned_call_is_settled_at_the_last_count_recorded(bench: Bench) -> None:
    holder = grant()
    reservation = await admitted(bench, request(holder, amount=100_000))
    await bench.ledger.extend(reservation, Tokens(input=2, output=3))
    bench.clock.turn(LEASE_SECONDS)
    (overdue,) = await bench.ledger.overdue(shard_of("org_1"), 10)
    charged = reaped_event(overdue)
    assert await bench.ledger.reap(overdue, charged)
    assert not await bench.ledger.reap(overdue, charged)
    assert (charged.usage_source, charged.tokens, charged.cost_nano_usd, charged.occurred_at) == (
        UsageSource.REAPED, Tokens(input=2, output=3), 5000, START,
    )  # fmt: skip
    assert charged.model_copy(
        update={"status": "ok", "usage_source": "reported", "cost_input_nano_usd": 0}
    ) == event(reservation, Tokens(input=2, output=3))
    found = await balances(bench, holder)
    assert nothing_is_open(found)
    assert [balance.spent_nano_usd["all"] for balance in found] == [5000] * 4
    assert await bench.ledger.overdue(shard_of("org_1"), 10) == []


async def test_a_renewed_lease_is_not_reaped(bench: Bench) -> None:
    reservation = await admitted(bench, request(grant()))
    bench.clock.turn(LEASE_SECONDS)
    (overdue,) = await bench.ledger.overdue(shard_of("org_1"), 10)
    assert await bench.ledger.extend(reservation, Tokens()) is ExtendOutcome.EXTENDED
    assert not await bench.ledger.reap(overdue, reaped_event(overdue))


async def test_a_call_is_not_reaped_at_a_count_that_is_no_longer_the_last(bench: Bench) -> None:
    reservation = await admitted(bench, request(grant()))
    bench.clock.turn(LEASE_SECONDS)
    (overdue,) = await bench.ledger.overdue(shard_of("org_1"), 10)
    await bench.ledger.extend(reservation, Tokens(output=1))
    bench.clock.turn(LEASE_SECONDS)
    assert not await bench.ledger.reap(overdue, reaped_event(overdue))
    (again,) = await bench.ledger.overdue(shard_of("org_1"), 10)
    assert await bench.ledger.reap(again, reaped_event(again))


async def test_a_late_settlement_of_a_reaped_call_charges_the_difference(bench: Bench) -> None:
    holder = grant()
    reservation = await admitted(bench, request(holder))
    await bench.ledger.extend(reservation, Tokens(input=2, output=3))
    bench.clock.turn(LEASE_SECONDS + 3600)
    assert await Reaper(bench.ledger).sweep() == 1
    late = event(reservation, Tokens(input=2, output=10))
    assert await bench.ledger.settle(reservation, late) is SettleOutcome.CORRECTED
    assert await bench.ledger.settle(reservation, late) is SettleOutcome.ALREADY
    for balance in await balances(bench, holder):
        assert balance.spent_nano_usd == {DAY: 12_000, MONTH: 12_000, "all": 12_000}
        assert balance.held_nano_usd == balance.spent_nano_usd


async def test_old_days_are_forgotten_once_nothing_is_open_in_them(bench: Bench) -> None:
    holder = grant()
    open_still = await admitted(bench, request(holder, amount=1000))
    settled = await admitted(bench, request(grant("org_2")))
    await bench.ledger.settle(settled, event(settled))
    bench.clock.turn(4 * 24 * 3600)
    await admitted(bench, request(holder, amount=1))
    await admitted(bench, request(grant("org_2"), amount=1))
    assert DAY in (await balances(bench, holder))[0].held_nano_usd
    assert DAY not in (await balances(bench, grant("org_2")))[0].held_nano_usd
    await bench.ledger.settle(open_still, event(open_still))
    assert (await balances(bench, holder))[0].spent_nano_usd[DAY] == 7000

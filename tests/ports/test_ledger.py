"""What every ledger promises: the same assertions on the twin, on Redis and on Redis Cluster."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from contracts.grant import Grant, LevelKind, Period
from contracts.pricing import Tokens
from contracts.topology import shard_of
from contracts.usage_event import UsageSource
from router.duties.reap import Reaper, reaped_event
from router.ports import (
    Balance,
    Dimension,
    ExtendOutcome,
    LedgerUnavailableError,
    PricedAmount,
    Refused,
    Reservation,
    ReserveRequest,
    SettleOutcome,
    UnpricedError,
)
from tests.ledger.calls import MODEL, START, event, grant, price, rate, request, spend
from tests.ports.conftest import LEASE_SECONDS, Bench

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


@pytest.mark.parametrize("kind", list(LevelKind))
async def test_a_spend_limit_admits_up_to_its_last_nano_usd(bench: Bench, kind: LevelKind) -> None:
    holder = grant(**{kind.value: {"spend": (spend(3000),)}})
    for _ in range(3):
        await admitted(bench, request(holder, amount=1000))
    verdict = await refused(bench, request(holder, amount=1))
    assert (verdict.level, verdict.dimension, verdict.limit, verdict.remaining, verdict.requested) == (
        kind, Dimension.SPEND, 3000, 0, 1,
    )  # fmt: skip
    assert verdict.possible


async def test_a_refused_call_changes_nothing(bench: Bench) -> None:
    holder = grant(organization={"rates": (rate(100, 1000),), "concurrency": 5}, key={"spend": (spend(10),)})
    await refused(bench, request(holder, amount=11))
    for balance in await balances(bench, holder):
        assert (balance.held_nano_usd, balance.spent_nano_usd, balance.slots) == ({}, {}, 0)
    headroom = (await admitted(bench, request(holder, amount=10, tokens=1))).headroom
    assert (headroom.remaining_requests, headroom.remaining_tokens) == (99, 999)


async def test_a_budget_of_zero_admits_only_what_is_free(bench: Bench) -> None:
    holder = grant(project={"spend": (spend(0),)})
    verdict = await refused(bench, request(holder, amount=1))
    assert not verdict.possible
    assert verdict.retry_after_ms is None
    await admitted(bench, request(holder, amount=0))


@pytest.mark.parametrize(
    ("period", "seconds"), [(Period.DAY, 60.0), (Period.MONTH, 10 * 24 * 3600 + 60.0), (Period.NONE, None)]
)
async def test_a_refusal_says_when_its_period_ends(bench: Bench, period: Period, seconds: float | None) -> None:
    holder = grant(key={"spend": (spend(10, period),)})
    await admitted(bench, request(holder, amount=10))
    verdict = await refused(bench, request(holder, amount=1))
    assert verdict.retry_after_ms == (None if seconds is None else seconds * 1000)
    if seconds is not None:
        bench.clock.turn(seconds)
        await admitted(bench, request(holder, amount=1))


async def test_a_february_ends_after_29_days_in_a_leap_year(bench: Bench) -> None:
    bench.clock.now_us = int(datetime(2028, 2, 28, tzinfo=UTC).timestamp()) * 1_000_000
    holder = grant(key={"spend": (spend(0),), "rates": ()}, project={"spend": (spend(10),)})
    await admitted(bench, request(grant(project={"spend": (spend(10),)}), amount=10))
    verdict = await refused(bench, request(grant(project={"spend": (spend(10),)}), amount=1))
    assert verdict.retry_after_ms == 2 * 24 * 3600 * 1000
    assert not (await refused(bench, request(holder, amount=1))).possible


async def test_period_and_price_are_those_of_the_reserve_whatever_comes_after(bench: Bench) -> None:
    holder = grant(key={"spend": (spend(10_000, Period.DAY),)})
    dearer = price("v2", since=datetime(2026, 11, 21, tzinfo=UTC), rate=2 * 10**9)
    amounts = (PricedAmount(price("v1"), 1000), PricedAmount(dearer, 2000))
    reservation = await admitted(bench, request(holder, amounts=amounts))
    bench.clock.turn(3600)
    later = await admitted(bench, request(holder, amounts=amounts))
    assert (reservation.occurred_at, reservation.price.version, reservation.reserved_nano_usd) == (
        START,
        "v1",
        1000,
    )
    assert (later.price.version, later.reserved_nano_usd) == ("v2", 2000)

    assert await bench.ledger.extend(reservation, Tokens(), more_nano_usd=9000) is ExtendOutcome.EXTENDED
    assert await bench.ledger.extend(reservation, Tokens(), more_nano_usd=1) is ExtendOutcome.REFUSED
    await bench.ledger.settle(reservation, event(reservation))
    key = (await balances(bench, holder))[3]
    assert key.spent_nano_usd == {DAY: 7000, MONTH: 7000, "all": 7000}
    assert key.held_nano_usd == {DAY: 7000, "d2026-11-21": 2000, MONTH: 9000, "all": 9000}


async def test_a_model_without_a_price_in_force_is_refused(bench: Bench) -> None:
    amounts = (PricedAmount(price(since=datetime(2027, 1, 1, tzinfo=UTC)), 1),)
    with pytest.raises(UnpricedError):
        await bench.ledger.reserve(request(grant(), amounts=amounts))


async def test_money_is_exact_far_beyond_what_a_float_prints(bench: Bench) -> None:
    holder = grant(organization={"spend": (spend(2**53),)})
    await admitted(bench, request(holder, amount=2**53 - 1))
    assert (await refused(bench, request(holder, amount=2))).remaining == 1
    await admitted(bench, request(holder, amount=1))
    assert (await balances(bench, holder))[0].held_nano_usd["all"] == 2**53


async def test_requests_per_minute_are_exact_and_come_back_with_time(bench: Bench) -> None:
    holder = grant(project={"rates": (rate(requests=7),)})
    for left in range(6, -1, -1):
        assert (await admitted(bench, request(holder))).headroom.remaining_requests == left
    verdict = await refused(bench, request(holder))
    assert (verdict.dimension, verdict.limit, verdict.remaining) == (Dimension.REQUESTS, 7, 0)
    assert verdict.retry_after_ms is not None
    bench.clock.turn((verdict.retry_after_ms - 1) / 1000)
    await refused(bench, request(holder))
    bench.clock.turn(0.001)
    await admitted(bench, request(holder))


async def test_a_rate_of_one_model_leaves_the_others_alone(bench: Bench) -> None:
    holder = grant(key={"rates": (rate(requests=1, model_id=MODEL), rate(requests=3))})
    await admitted(bench, request(holder))
    await refused(bench, request(holder))
    headroom = (await admitted(bench, request(holder, model_id="model-2"))).headroom
    assert (headroom.limit_requests, headroom.remaining_requests) == (3, 1)


async def test_headroom_is_the_tightest_limits(bench: Bench) -> None:
    holder = grant(organization={"rates": (rate(600, 60_000),)}, key={"rates": (rate(1000, 6000),)})
    headroom = (await admitted(bench, request(holder, tokens=100))).headroom
    assert (headroom.limit_requests, headroom.remaining_requests, headroom.reset_requests_ms) == (600, 599, 100)
    assert (headroom.limit_tokens, headroom.remaining_tokens, headroom.reset_tokens_ms) == (6000, 5900, 1000)


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


async def test_tokens_given_back_never_fill_a_bucket_above_its_limit(bench: Bench) -> None:
    holder = grant(key={"rates": (rate(tokens=1000),)})
    reservation = await admitted(bench, request(holder, tokens=1000))
    bench.clock.turn(60)
    await bench.ledger.settle(reservation, event(reservation, Tokens()))
    assert (await admitted(bench, request(holder, tokens=1))).headroom.remaining_tokens == 999


async def test_a_call_that_alone_exceeds_a_bucket_is_told_that_waiting_is_vain(bench: Bench) -> None:
    holder = grant(user={"rates": (rate(tokens=100),)})
    verdict = await refused(bench, request(holder, tokens=101))
    assert (verdict.level, verdict.dimension, verdict.possible, verdict.retry_after_ms) == (
        LevelKind.USER, Dimension.TOKENS, False, None,
    )  # fmt: skip


async def test_the_refusal_that_holds_longest_is_told(bench: Bench) -> None:
    holder = grant(organization={"rates": (rate(requests=1),)}, key={"spend": (spend(1000),)})
    await admitted(bench, request(holder, amount=1000))
    verdict = await refused(bench, request(holder, amount=1))
    assert (verdict.level, verdict.dimension) == (LevelKind.KEY, Dimension.SPEND)


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
    assert await bench.ledger.extend(reservation, Tokens(output=1)) is ExtendOutcome.EXTENDED
    assert not await bench.ledger.reap(overdue, reaped_event(overdue))
    bench.clock.turn(LEASE_SECONDS)
    assert not await bench.ledger.reap(overdue, reaped_event(overdue)), "a newer count was recorded"


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


async def test_two_organizations_owe_apart_even_for_the_same_user(bench: Bench) -> None:
    mine, theirs = grant("org_1"), grant("org_2")
    theirs = theirs.model_copy(update={"owner_id": mine.owner_id})
    await admitted(bench, request(mine))
    assert (await balances(bench, theirs))[2].held_nano_usd == {}


async def test_a_burst_is_admitted_exactly_up_to_the_limits_and_leaves_nothing_open(bench: Bench) -> None:
    holder = grant(
        organization={"spend": (spend(137_000),)}, key={"concurrency": 500, "rates": (rate(tokens=9000),)}
    )
    verdicts = await asyncio.gather(*(bench.ledger.reserve(request(holder, amount=1000)) for _ in range(1000)))
    winners = [verdict for verdict in verdicts if isinstance(verdict, Reservation)]
    assert len(winners) == 137
    organization, *_, key = await balances(bench, holder)
    assert (organization.held_nano_usd["all"], key.slots) == (137_000, 137)
    outcomes = await asyncio.gather(*(bench.ledger.settle(winner, event(winner)) for winner in winners))
    assert set(outcomes) == {SettleOutcome.SETTLED}
    found = await balances(bench, holder)
    assert nothing_is_open(found)
    assert [balance.spent_nano_usd["all"] for balance in found] == [137 * 7000] * 4

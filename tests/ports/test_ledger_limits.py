"""What every ledger admits and refuses: the same assertions on the twin, on Redis and on Redis Cluster."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from contracts.grant import LevelKind, Period
from contracts.pricing import Tokens
from router.ports import (
    Dimension,
    ExtendOutcome,
    PricedAmount,
    Reservation,
    SettleOutcome,
    UnpricedError,
)
from tests.ledger.calls import MODEL, START, event, grant, price, rate, request, spend
from tests.ports.asking import DAY, MONTH, admitted, balances, nothing_is_open, refused
from tests.ports.conftest import Bench


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


async def test_tokens_given_back_never_fill_a_bucket_above_its_limit(bench: Bench) -> None:
    holder = grant(key={"rates": (rate(tokens=1000),)})
    reservation = await admitted(bench, request(holder, tokens=1000))
    bench.clock.turn(60)
    await bench.ledger.settle(reservation, event(reservation, Tokens()))
    assert (await admitted(bench, request(holder, tokens=1))).headroom.remaining_tokens == 999


async def test_a_bucket_refills_while_a_call_runs_whatever_it_is_settled_at(bench: Bench) -> None:
    holder = grant(key={"rates": (rate(tokens=1000),)})
    reservation = await admitted(bench, request(holder, tokens=500))
    bench.clock.turn(30)
    await bench.ledger.settle(reservation, event(reservation, Tokens(output=600)))
    assert (await admitted(bench, request(holder, tokens=1))).headroom.remaining_tokens == 1000 - 100 - 1


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

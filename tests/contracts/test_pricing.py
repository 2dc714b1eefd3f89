from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from contracts.catalog import Price
from contracts.pricing import Tokens, cost_nano_usd, upper_bound_nano_usd

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
RATES = st.integers(0, 10**12)
COUNTS = st.integers(0, 10**7)


def price(
    rate_in: int, rate_out: int, cached: int | None = None, reasoning: int | None = None, at: datetime = NOON
) -> Price:
    return Price(
        version=f"p{at.timestamp()}",
        effective_from=at,
        input_nano_usd_per_million=rate_in,
        output_nano_usd_per_million=rate_out,
        cached_input_nano_usd_per_million=cached,
        reasoning_output_nano_usd_per_million=reasoning,
    )


@given(COUNTS, COUNTS, RATES, RATES)
def test_the_cost_is_the_exact_sum_rounded_half_up_once(inp: int, out: int, r_in: int, r_out: int) -> None:
    exact = Fraction(inp * r_in + out * r_out, 1_000_000)
    cost = cost_nano_usd(Tokens(input=inp, output=out), price(r_in, r_out))
    assert Fraction(-1, 2) < exact - cost <= Fraction(1, 2) or exact - cost == Fraction(-1, 2)


def test_half_a_nano_is_rounded_up() -> None:
    assert cost_nano_usd(Tokens(input=1), price(500_000, 0)) == 1
    assert cost_nano_usd(Tokens(input=1), price(499_999, 0)) == 0


def test_cached_and_reasoning_tokens_have_rates_of_their_own() -> None:
    tokens = Tokens(input=1000, cached_input=400, output=500, reasoning_output=100)
    cost = cost_nano_usd(tokens, price(10**9, 2 * 10**9, cached=10**8, reasoning=4 * 10**9))
    assert cost == 600 * 1000 + 400 * 100 + 400 * 2000 + 100 * 4000


@given(COUNTS, COUNTS, RATES, RATES, st.none() | RATES, st.none() | RATES, st.data())
def test_the_upper_bound_is_never_below_the_cost(
    inp: int, out: int, r_in: int, r_out: int, cached: int | None, reasoning: int | None, data: st.DataObject
) -> None:
    tokens = Tokens(
        input=inp,
        cached_input=data.draw(st.integers(0, inp)),
        output=out,
        reasoning_output=data.draw(st.integers(0, out)),
    )
    at = price(r_in, r_out, cached, reasoning)
    assert cost_nano_usd(tokens, at) <= upper_bound_nano_usd(inp, out, at)

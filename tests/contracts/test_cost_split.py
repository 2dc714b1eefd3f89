"""A cost and its parts: what the cost report adds up must be what the ledger charged, to the nano-USD."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from contracts.catalog import Operation, Price
from contracts.grant import OwnerKind
from contracts.pricing import TOKENS_PER_RATE, Tokens, cost_nano_usd, split_cost
from contracts.usage_event import UsageEvent, UsageSource, correction

RATES = st.integers(0, 30_000_000_000)
COUNTS = st.integers(0, 200_000)


@st.composite
def tokens(draw: st.DrawFn) -> Tokens:
    given_in, given_out = draw(COUNTS), draw(COUNTS)
    return Tokens(
        input=given_in,
        cached_input=draw(st.integers(0, given_in)),
        output=given_out,
        reasoning_output=draw(st.integers(0, given_out)),
    )


@st.composite
def prices(draw: st.DrawFn) -> Price:
    return Price(
        version="p1",
        effective_from=datetime(2026, 1, 1, tzinfo=UTC),
        input_nano_usd_per_million=draw(RATES),
        output_nano_usd_per_million=draw(RATES),
        cached_input_nano_usd_per_million=draw(st.none() | RATES),
        reasoning_output_nano_usd_per_million=draw(st.none() | RATES),
    )


@given(tokens(), prices())
def test_the_parts_of_a_cost_add_up_to_it_and_none_is_negative(used: Tokens, price: Price) -> None:
    split = split_cost(used, price)
    assert split.total == cost_nano_usd(used, price)
    assert min(split.input, split.cached_input, split.output) >= 0


@given(tokens(), prices())
def test_a_part_is_within_one_nano_usd_of_its_own_price(used: Tokens, price: Price) -> None:
    uncached = used.input - used.cached_input
    exact = uncached * price.input_nano_usd_per_million / TOKENS_PER_RATE
    assert abs(split_cost(used, price).input - exact) <= 1


def _event(used: Tokens, price: Price) -> UsageEvent:
    split = split_cost(used, price)
    return UsageEvent(
        event_id="call",
        occurred_at=datetime(2026, 2, 1, tzinfo=UTC),
        organization_id="org",
        project_id="proj",
        key_id="key",
        owner_kind=OwnerKind.USER,
        owner_id="user",
        operation=Operation.CHAT,
        model_id="m",
        usage_source=UsageSource.REPORTED,
        tokens=used,
        cost_nano_usd=split.total,
        cost_input_nano_usd=split.input,
        cost_cached_input_nano_usd=split.cached_input,
        price_version=price.version,
    )


@given(tokens(), tokens(), prices())
def test_a_reaped_event_and_its_correction_add_up_to_the_settlement(
    reaped: Tokens, settled: Tokens, price: Price
) -> None:
    before, after = _event(reaped, price), _event(settled, price)
    difference = correction(after, before)
    assert difference.event_id == "call.correction"
    assert difference.requests == 0
    for name in ("cost_nano_usd", "cost_input_nano_usd", "cost_cached_input_nano_usd"):
        assert getattr(before, name) + getattr(difference, name) == getattr(after, name)
    assert before.tokens.total + difference.tokens.total == after.tokens.total

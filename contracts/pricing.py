"""Price x tokens -> integer nano-USD, rounded once, here and nowhere else."""

from __future__ import annotations

from contracts.catalog import Price
from contracts.wire import Wire

TOKENS_PER_RATE = 1_000_000


class Tokens(Wire):
    """What a call used. `input` contains `cached_input`; `output` contains `reasoning_output`.
    A correction carries differences, so any count may be negative."""

    input: int = 0
    cached_input: int = 0
    output: int = 0
    reasoning_output: int = 0

    @property
    def total(self) -> int:
        return self.input + self.output

    def minus(self, other: Tokens) -> Tokens:
        return Tokens(
            input=self.input - other.input,
            cached_input=self.cached_input - other.cached_input,
            output=self.output - other.output,
            reasoning_output=self.reasoning_output - other.reasoning_output,
        )


class CostSplit(Wire):
    """What a cost is made of, in nano-USD. `input` is without its cached part."""

    input: int = 0
    cached_input: int = 0
    output: int = 0

    @property
    def total(self) -> int:
        return self.input + self.cached_input + self.output


def cost_nano_usd(tokens: Tokens, price: Price) -> int:
    """The cost of non-negative `tokens`, in nano-USD, rounded half up once.

    Cached input and reasoning output are charged at rates of their own where the price has them:
    cost = [(input - cached) r_in + cached r_cached + (output - reasoning) r_out + reasoning r_reasoning] / 10^6.
    """
    return split_cost(tokens, price).total


def split_cost(tokens: Tokens, price: Price) -> CostSplit:
    """The same cost in its parts, which add up to it exactly: each part is the difference of two running sums
    that are rounded like the whole."""
    cached_rate = price.cached_input_nano_usd_per_million
    reasoning_rate = price.reasoning_output_nano_usd_per_million
    if cached_rate is None:
        cached_rate = price.input_nano_usd_per_million
    if reasoning_rate is None:
        reasoning_rate = price.output_nano_usd_per_million
    uncached = (tokens.input - tokens.cached_input) * price.input_nano_usd_per_million
    cached = tokens.cached_input * cached_rate
    output = (tokens.output - tokens.reasoning_output) * price.output_nano_usd_per_million
    output += tokens.reasoning_output * reasoning_rate
    first = _rounded_half_up(uncached)
    second = _rounded_half_up(uncached + cached)
    third = _rounded_half_up(uncached + cached + output)
    return CostSplit(input=first, cached_input=second - first, output=third - second)


def _rounded_half_up(scaled: int) -> int:
    return (scaled + TOKENS_PER_RATE // 2) // TOKENS_PER_RATE


def upper_bound_nano_usd(input_tokens: int, output_tokens: int, price: Price) -> int:
    """What a call of at most these tokens can cost: each side at its dearest rate."""
    dearest_input = max(price.input_nano_usd_per_million, price.cached_input_nano_usd_per_million or 0)
    dearest_output = max(price.output_nano_usd_per_million, price.reasoning_output_nano_usd_per_million or 0)
    scaled = input_tokens * dearest_input + output_tokens * dearest_output
    return _rounded_half_up(scaled)

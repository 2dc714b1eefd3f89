"""What past calls taught: how much a key's calls put out, how fast a model writes, how many bytes a token has."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, TypeVar

MOST_REMEMBERED: Final = 10_000
SMOOTHING: Final = 0.125
DEVIATION_SMOOTHING: Final = 0.25

K = TypeVar("K")
V = TypeVar("V")


class OutputEstimate:
    """Mean plus two mean deviations, smoothed: covers nearly all calls of a steady workload, and follows a changed
    one within a dozen calls. (V. Jacobson, Congestion avoidance and control, 1988, estimates round trips so.)"""

    __slots__ = ("_deviation", "_mean")

    def __init__(self, first: int) -> None:
        self._mean = float(first)
        self._deviation = first / 4

    def learn(self, output_tokens: int) -> None:
        error = output_tokens - self._mean
        self._mean += SMOOTHING * error
        self._deviation += DEVIATION_SMOOTHING * (abs(error) - self._deviation)

    @property
    def tokens(self) -> int:
        return int(self._mean + 2 * self._deviation) + 1


class Learned:
    """Bounded memory: the least recently used key and model are forgotten first."""

    def __init__(self, output_tokens: int, tokens_per_second: float) -> None:
        self._default_output_tokens = output_tokens
        self._default_tokens_per_second = tokens_per_second
        self._outputs: OrderedDict[tuple[str, str], OutputEstimate] = OrderedDict()
        self._tokens_per_second: OrderedDict[str, float] = OrderedDict()
        self._tokens_per_byte: OrderedDict[str, float] = OrderedDict()

    def output_tokens(self, key_id: str, model_id: str) -> int:
        """What one choice of the key's next call to the model will probably put out at most."""
        estimate = self._outputs.get((key_id, model_id))
        return self._default_output_tokens if estimate is None else estimate.tokens

    def tokens_per_second(self, model_id: str) -> float:
        """How fast one choice is written: everybody's calls teach it, so that many choices of one must not count
        as speed."""
        return self._tokens_per_second.get(model_id, self._default_tokens_per_second)

    def input_tokens(self, model_id: str, input_bound_tokens: int) -> int:
        """The likely input of a call whose upstream did not tell."""
        return round(input_bound_tokens * self._tokens_per_byte.get(model_id, 0.25))

    def learn_output(self, key_id: str, model_id: str, output_tokens: int) -> None:
        estimate = self._outputs.get((key_id, model_id))
        if estimate is None:
            estimate = OutputEstimate(output_tokens)
            _remember(self._outputs, (key_id, model_id), estimate)
        estimate.learn(output_tokens)

    def learn_rates(
        self, model_id: str, input_tokens: int, input_bound_tokens: int, output_tokens: int, seconds: float
    ) -> None:
        """`output_tokens` are those of one choice."""
        if output_tokens > 0 and seconds > 0:
            before = self._tokens_per_second.get(model_id, output_tokens / seconds)
            _remember(self._tokens_per_second, model_id, before + SMOOTHING * (output_tokens / seconds - before))
        if input_tokens > 0 and input_bound_tokens > 0:
            ratio = input_tokens / input_bound_tokens
            before = self._tokens_per_byte.get(model_id, ratio)
            _remember(self._tokens_per_byte, model_id, before + SMOOTHING * (ratio - before))


def _remember(memory: OrderedDict[K, V], key: K, value: V) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > MOST_REMEMBERED:
        memory.popitem(last=False)

"""Counting what a call used: the upstream's own numbers whenever it gives them, else its deltas."""

from __future__ import annotations

from typing import Any, Final

from contracts.pricing import Tokens
from contracts.usage_event import UsageSource

MOST_TOKENS: Final = 10**9
"""A count beyond it is no count: a broken server must not be able to spend a budget, or to break a counter."""


class UsageTally:
    """The running usage of one call, in O(choices) memory. Reported counts win over counted deltas; deltas that
    came after the last report are added to it."""

    __slots__ = (
        "_per_choice",
        "_per_prompt",
        "cached_input",
        "deltas",
        "input",
        "output",
        "reasoning",
        "reported",
    )

    def __init__(self, choices_per_prompt: int = 1) -> None:
        self.input = self.cached_input = self.output = self.reasoning = self.deltas = 0
        self.reported = False
        self._per_prompt = choices_per_prompt
        self._per_choice: dict[int, tuple[int, int]] = {}

    @property
    def output_tokens(self) -> int:
        return self.output + self.deltas

    @property
    def source(self) -> UsageSource:
        return UsageSource.REPORTED if self.reported and not self.deltas else UsageSource.COUNTED

    def report(self, input_tokens: int, output_tokens: int) -> None:
        """Cumulative counts of the whole call."""
        self.input = input_tokens
        self.output = output_tokens
        self.deltas = 0
        self.reported = True

    def report_choice(self, index: int, input_tokens: int, output_tokens: int) -> None:
        """Cumulative counts of one choice, as engines give them in running usage: summed over the choices; the
        input of a prompt counts once, however many choices it has."""
        self._per_choice[index] = (input_tokens, output_tokens)
        prompts = {at // self._per_prompt: counts[0] for at, counts in self._per_choice.items()}
        self.report(sum(prompts.values()), sum(counts[1] for counts in self._per_choice.values()))

    def report_object(self, usage: dict[str, Any], index: int | None = None) -> bool:
        """A usage object of any of the four operations; whether it was one. Counts that nobody can have used are
        left alone, so that what was counted stands."""
        input_tokens = count_of(usage, "prompt_tokens", "input_tokens")
        output_tokens = count_of(usage, "completion_tokens", "output_tokens")
        if input_tokens is None or output_tokens is None or not usage:
            return False
        if index is None:
            self.report(input_tokens, output_tokens)
        else:
            self.report_choice(index, input_tokens, output_tokens)
        inputs = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
        outputs = usage.get("completion_tokens_details") or usage.get("output_tokens_details")
        self.cached_input = min(count_of(inputs, "cached_tokens") or 0, self.input)
        self.reasoning = min(count_of(outputs, "reasoning_tokens") or 0, self.output)
        return True

    def tokens(self) -> Tokens:
        return Tokens(
            input=self.input,
            cached_input=self.cached_input,
            output=self.output_tokens,
            reasoning_output=self.reasoning,
        )


def count_of(usage: Any, *names: str) -> int | None:
    """The first of the named counts that is given, 0 where none is; None for what is no plausible count."""
    if not isinstance(usage, dict):
        return 0
    for name in names:
        value = usage.get(name)
        if value is not None:
            return value if type(value) is int and 0 <= value <= MOST_TOKENS else None
    return 0

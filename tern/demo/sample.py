"""Chooses the next token from logits: temperature, top-k, top-p, penalties, seed, log-probabilities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tern.demo.checkpoint import Floats


@dataclass(frozen=True)
class SamplingParams:
    """What a request asks for; `max_tokens` is already cut to the room that the context leaves."""

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    stop: tuple[str, ...] = ()
    stop_token_ids: frozenset[int] = frozenset()
    ignore_eos: bool = False
    min_tokens: int = 0
    top_logprobs: int | None = None


@dataclass(frozen=True)
class Picked:
    """A token, its log-probability before temperature, and the best alternatives, if asked for."""

    token: int
    logprob: float
    best: tuple[tuple[int, float], ...]


class Sampler:
    """One choice's random numbers and token counts; the same seed and index give the same tokens."""

    def __init__(self, params: SamplingParams, index: int, eos_token_id: int) -> None:
        entropy = None if params.seed is None else [params.seed % 2**64, index]
        self._params = params
        self._random = np.random.default_rng(entropy)
        self._seen: Counter[int] = Counter()
        self._picked = 0
        self._banned_at_first = sorted(params.stop_token_ids | {eos_token_id})

    def pick(self, logits: Floats) -> Picked:
        adjusted = self._adjusted(logits)
        token = int(adjusted.argmax()) if self._params.temperature == 0 else self._draw(adjusted)
        self._seen[token] += 1
        self._picked += 1
        if self._params.top_logprobs is None:
            return Picked(token, 0.0, ())
        return _with_logprobs(logits, token, self._params.top_logprobs)

    def _adjusted(self, logits: Floats) -> Floats:
        params = self._params
        adjusted = logits.copy()
        for token, bias in params.logit_bias.items():
            adjusted[token] += bias
        if params.presence_penalty or params.frequency_penalty:
            for token, count in self._seen.items():
                adjusted[token] -= params.presence_penalty + params.frequency_penalty * count
        if self._picked < params.min_tokens:
            adjusted[self._banned_at_first] = -np.inf
        return adjusted

    def _draw(self, logits: Floats) -> int:
        order = np.argsort(-logits, kind="stable")
        if self._params.top_k > 0:
            order = order[: self._params.top_k]
        scaled = logits[order].astype(np.float64) / self._params.temperature
        weights = np.exp(scaled - scaled[0])
        running = np.cumsum(weights / weights.sum())
        kept = int(np.searchsorted(running, self._params.top_p)) + 1
        total = running[min(kept, len(running)) - 1]
        drawn = int(np.searchsorted(running, self._random.random() * total, side="right"))
        return int(order[min(drawn, kept - 1, len(order) - 1)])


def _with_logprobs(logits: Floats, token: int, count: int) -> Picked:
    shifted = logits.astype(np.float64) - logits.max()
    logprobs = shifted - np.log(np.exp(shifted).sum())
    best = np.argsort(-logprobs, kind="stable")[:count]
    return Picked(token, float(logprobs[token]), tuple((int(one), float(logprobs[one])) for one in best))

"""The scheduler: one forward pass per step for all running choices, in one worker thread.

All bookkeeping happens on the event loop, between steps; the worker only computes. So a cancelled choice is
dropped at the next step, and a token that was computed for it meanwhile is neither handed on nor counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from tern.demo.checkpoint import Floats
from tern.demo.errors import EngineError
from tern.demo.metrics import EngineMetrics
from tern.demo.model import Model, Segment
from tern.demo.sample import Picked, Sampler, SamplingParams
from tern.demo.text import DeltaDecoder

log = logging.getLogger(__name__)

# A prompt is always read in pieces that start at multiples of this, whoever shares the step: the sums inside
# attention then have one order, and a seeded answer does not depend on its neighbours.
_PROMPT_PIECE = 256
_PROMPT_TOKENS_PER_STEP = 512


@dataclass(frozen=True)
class Delta:
    """One new token of one choice and the text that it releases."""

    index: int
    text: str
    picked: Picked
    finish_reason: str | None
    stop_reason: str | int | None


class Choice:
    """One sequence being written."""

    def __init__(self, answer: Answer, index: int, prompt: Sequence[int], engine: Engine) -> None:
        params = answer.params
        self.answer = answer
        self.index = index
        self.prompt = prompt
        self.cache = engine.model.new_cache()
        self.sampler = Sampler(params, index, engine.eos_token_id)
        self.is_open = True
        self._decoder = DeltaDecoder(engine.token_bytes, params.stop)
        self._ends = params.stop_token_ids | (frozenset() if params.ignore_eos else {engine.eos_token_id})
        self._eos_token_id = engine.eos_token_id
        self._produced = 0
        self._last_token = -1

    def next_tokens(self) -> Sequence[int]:
        """What the next step reads: a piece of the prompt, or the token just written."""
        done = self.cache.length
        return self.prompt[done : done + _PROMPT_PIECE] if self.is_reading else [self._last_token]

    @property
    def is_reading(self) -> bool:
        return self.cache.length < len(self.prompt)

    def accept(self, picked: Picked) -> Delta:
        """Takes the new token in; decides whether it is the last one."""
        self._produced += 1
        self._last_token = picked.token
        if picked.token in self._ends:
            stop = None if picked.token == self._eos_token_id else picked.token
            return Delta(self.index, self._decoder.flush(), picked, "stop", stop)
        text = self._decoder.push(picked.token)
        if self._decoder.matched_stop is not None:
            return Delta(self.index, text, picked, "stop", self._decoder.matched_stop)
        if self._produced >= self.answer.params.max_tokens:
            return Delta(self.index, text + self._decoder.flush(), picked, "length", None)
        return Delta(self.index, text, picked, None, None)


class Answer:
    """All choices of one request; iterating gives their deltas as they are written."""

    def __init__(self, engine: Engine, prompts: Sequence[Sequence[int]], params: SamplingParams, n: int) -> None:
        self.params = params
        self.prompts = prompts
        self._deltas: asyncio.Queue[Delta | EngineError] = asyncio.Queue()
        each = (prompt for prompt in prompts for _ in range(n))
        self.choices = [Choice(self, index, prompt, engine) for index, prompt in enumerate(each)]

    async def __aiter__(self) -> AsyncGenerator[Delta]:
        unfinished = len(self.choices)
        while unfinished:
            delta = await self._deltas.get()
            if isinstance(delta, EngineError):
                raise delta
            unfinished -= delta.finish_reason is not None
            yield delta

    def hand_on(self, delta: Delta | EngineError) -> None:
        self._deltas.put_nowait(delta)


class Engine:
    def __init__(
        self,
        model: Model,
        token_bytes: Sequence[bytes],
        metrics: EngineMetrics,
        max_num_seqs: int,
        max_model_len: int,
    ) -> None:
        self.model = model
        self.token_bytes = token_bytes
        self.eos_token_id = model.config.eos_token_id
        self.max_model_len = max_model_len
        self._max_num_seqs = max_num_seqs
        self._metrics = metrics
        self._waiting: deque[Choice] = deque()
        self._running: list[Choice] = []
        self._work_to_do = asyncio.Event()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="forward")
        metrics.watch(lambda: len(self._running), lambda: len(self._waiting), self._cache_usage)

    @property
    def load(self) -> int:
        return len(self._running) + len(self._waiting)

    @contextmanager
    def answering(self, prompts: Sequence[Sequence[int]], params: SamplingParams, n: int) -> Iterator[Answer]:
        """Queues `n` choices for each prompt; on leaving, what is still being written frees its slots."""
        answer = Answer(self, prompts, params, n)
        self._waiting.extend(answer.choices)
        self._work_to_do.set()
        try:
            yield answer
        finally:
            for choice in answer.choices:
                if choice.is_open:
                    self._close(choice, "abort")

    async def embed(self, prompt: Sequence[int]) -> Floats:
        """Mean of the hidden states of the prompt, scaled to length 1; [hidden]."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._mean_hidden, prompt)

    async def run(self) -> None:
        """Steps for ever; a fault of one step ends the choices of that step, not the engine."""
        loop = asyncio.get_running_loop()
        while True:
            await self._work_to_do.wait()
            batch = self._next_batch()
            if not batch:
                self._work_to_do.clear()
                continue
            try:
                self._deliver(batch, await loop.run_in_executor(self._worker, self._compute, batch))
            except Exception:
                log.exception("a step failed")
                self._fail(batch)

    def close(self) -> None:
        self._worker.shutdown(wait=True, cancel_futures=True)

    def _next_batch(self) -> list[Choice]:
        while self._waiting and len(self._running) < self._max_num_seqs:
            self._running.append(self._waiting.popleft())
        batch, room = [], _PROMPT_TOKENS_PER_STEP
        for choice in self._running:
            if choice.is_reading:
                length = len(choice.next_tokens())
                if length > room:
                    continue
                room -= length
            batch.append(choice)
        return batch

    def _compute(self, batch: Sequence[Choice]) -> list[Picked | None]:
        """Runs in the worker thread: one forward pass, then one token for each choice that has read its prompt."""
        segments = [Segment(choice.cache, choice.next_tokens()) for choice in batch]
        hidden = self.model.forward(segments)
        last_rows = np.cumsum([len(segment.tokens) for segment in segments]) - 1
        return [
            None if choice.is_reading else choice.sampler.pick(self.model.logits(hidden[row]))
            for choice, row in zip(batch, last_rows, strict=True)
        ]

    def _deliver(self, batch: Sequence[Choice], picks: Sequence[Picked | None]) -> None:
        for choice, picked in zip(batch, picks, strict=True):
            if picked is None or not choice.is_open:
                continue
            delta = choice.accept(picked)
            self._metrics.generation_tokens.inc()
            if choice.cache.length == len(choice.prompt):
                self._metrics.prompt_tokens.inc(len(choice.prompt))
            if delta.finish_reason is not None:
                self._close(choice, delta.finish_reason)
            choice.answer.hand_on(delta)

    def _fail(self, batch: Sequence[Choice]) -> None:
        for choice in batch:
            if choice.is_open:
                self._close(choice, "error")
                choice.answer.hand_on(EngineError("The forward pass failed."))

    def _close(self, choice: Choice, reason: str) -> None:
        choice.is_open = False
        (self._running if choice in self._running else self._waiting).remove(choice)
        self._metrics.finished(reason)

    def _cache_usage(self) -> float:
        used = sum(choice.cache.length for choice in self._running)
        return used / (self._max_num_seqs * self.max_model_len)

    def _mean_hidden(self, prompt: Sequence[int]) -> Floats:
        cache = self.model.new_cache()
        pieces = [prompt[start : start + _PROMPT_PIECE] for start in range(0, len(prompt), _PROMPT_PIECE)]
        hidden = np.concatenate([self.model.forward([Segment(cache, piece)]) for piece in pieces])
        mean: Floats = hidden.mean(axis=0)
        return mean / np.linalg.norm(mean)

"""Times with a cold L2: CUDA graphs that walk over copies of the layer, replayed in turns by all contenders.

A graph runs one call per copy; the copies together are at least three times the L2 cache, so each call finds its
weights in DRAM. A contender that cannot be captured is timed by events around single calls after a flush of the
cache, and its row says so. One round replays every contender once, so that clocks and temperature drift for all
alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

MIN_CALLS = 8


class Timed(NamedTuple):
    """`replay` runs `calls` calls; `method` is "graph" or "events"."""

    replay: Callable[[], float]
    method: str


def copies_for(weight_bytes: int, cache_bytes: int, free_bytes: int) -> int:
    """Copies that make a walk over them cold: 3 caches' worth, at least 2, within a third of the free memory."""
    wanted = max(2, -(-3 * cache_bytes // weight_bytes))
    return max(2, min(wanted, free_bytes // 3 // weight_bytes))


def timed(calls: Sequence[Callable[[], Tensor]], cache_bytes: int) -> Timed:
    """A way to time one call, in microseconds; `calls` are the same layer on different copies."""
    for call in calls:
        call()
    torch.cuda.synchronize()
    try:
        return Timed(_captured(calls), "graph")
    except RuntimeError:
        torch.cuda.synchronize()
        return Timed(_flushed(calls[0], cache_bytes), "events")


def interleaved(entries: dict[str, Timed], rounds: int) -> dict[str, list[float]]:
    """Samples in microseconds per name: every entry once per round; a first round is run and dropped."""
    samples: dict[str, list[float]] = {name: [] for name in entries}
    for number in range(rounds + 1):
        for name, entry in entries.items():
            microseconds = entry.replay()
            if number:
                samples[name].append(microseconds)
    return samples


def _captured(calls: Sequence[Callable[[], Tensor]]) -> Callable[[], float]:
    repeats = -(-MIN_CALLS // len(calls))
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    graph = torch.cuda.CUDAGraph()
    kept = []
    with torch.cuda.graph(graph, stream=stream):
        for _ in range(repeats):
            kept = [call() for call in calls]
    total = repeats * len(calls)

    def replay() -> float:
        return _milliseconds(graph.replay) * 1e3 / total

    replay.kept = kept  # type: ignore[attr-defined]  # the graph's outputs live as long as it is replayed
    return replay


def _flushed(call: Callable[[], Tensor], cache_bytes: int) -> Callable[[], float]:
    buffer = torch.empty(4 * cache_bytes, dtype=torch.int8, device="cuda")

    def replay() -> float:
        buffer.zero_()
        return _milliseconds(call) * 1e3

    return replay


def _milliseconds(call: Callable[[], object]) -> float:
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    call()
    end.record()
    end.synchronize()
    elapsed: float = start.elapsed_time(end)
    return elapsed

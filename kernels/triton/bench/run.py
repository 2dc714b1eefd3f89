"""The measurement itself: gate, layers, chain. Every contender of a layer and M is timed in the same rounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from bench import chain, gate, peaks
from bench.contenders import contenders
from bench.problem import Contender, Problem, activations
from bench.report import Peaks, Row, Stamp, rates
from bench.shapes import CHAIN, Layer
from bench.statistics import spread
from bench.timing import Timed, copies_for, interleaved, timed

CHAIN_MAX_M = 64


@dataclass(frozen=True)
class Conditions:
    """What a whole run shares."""

    rounds: int
    cache_bytes: int
    peaks: Peaks
    stamp: Stamp


class WrongResultError(Exception):
    """One of our own kernels, right at the gate, was wrong when it was to be timed."""


def failures(layers: Sequence[Layer], tokens: Sequence[int]) -> Iterator[str]:
    """Everything our kernels get wrong, over all layers and M, by every path that is timed, the chain included."""
    ours = [one for one in contenders() if one.exact]
    for layer in layers:
        problem = Problem.make(layer.n, layer.k, seed=0)
        for m in tokens:
            x = activations(m, layer.k)
            if failure := gate.check_ours(problem, x):
                yield failure
            for contender in ours:
                if contender.serves(m) and (failure := gate.check_contender(contender, problem, x)):
                    yield f"{layer.n}x{layer.k} M={m} {contender.name}/{contender.mode}: {failure}"
    for m in (m for m in tokens if m <= CHAIN_MAX_M):
        if failure := gate.check_chain(activations(m, chain.HIDDEN), chain.layer_copy(0)):
            yield f"chain M={m}: {failure}"


def layer_rows(layers: Sequence[Layer], tokens: Sequence[int], conditions: Conditions) -> Iterator[Row]:
    for layer in layers:
        for m in tokens:
            stamp = replace(conditions.stamp, **peaks.clocks())
            yield from _measure(layer, m, conditions, stamp)
            torch.cuda.empty_cache()


def chain_rows(tokens: Sequence[int], conditions: Conditions) -> Iterator[Row]:
    """The BitNet-2B layer at small M, by the contenders that take and give bf16."""
    for m in (m for m in tokens if m <= CHAIN_MAX_M):
        stamp = replace(conditions.stamp, **peaks.clocks())
        entries: dict[str, Timed] = {}
        for one in (one for one in contenders() if one.mode == "full" and one.serves(m)):
            entry = _guarded(one, partial(_chain_entry, one, m, conditions.cache_bytes))
            if isinstance(entry, str):
                yield Row(CHAIN, m, one.name, "chain", stamp, not_run=entry)
            else:
                entries[one.name] = entry
        for name, samples in interleaved(entries, conditions.rounds).items():
            row = Row(CHAIN, m, name, "chain", stamp, method=entries[name].method)
            yield replace(row, time=spread(samples))
        torch.cuda.empty_cache()


def _measure(layer: Layer, m: int, conditions: Conditions, stamp: Stamp) -> Iterator[Row]:
    """All contenders at one layer and M, interleaved."""
    entries: dict[str, Timed] = {}
    rows: dict[str, Row] = {}
    for contender in contenders():
        if not contender.serves(m):
            continue
        row = Row(layer, m, contender.name, contender.mode, stamp, contender.weight_bits)
        entry = _guarded(contender, partial(_entry, contender, layer, m, conditions.cache_bytes))
        if isinstance(entry, str):
            yield replace(row, not_run=entry)
            continue
        key = f"{contender.name}/{contender.mode}"
        entries[key], rows[key] = entry, replace(row, method=entry.method)
    for key, samples in interleaved(entries, conditions.rounds).items():
        time = spread(samples)
        found = rates(layer, m, rows[key].weight_bits, time, conditions.peaks)
        yield replace(rows[key], time=time, rates=found)


def _guarded(contender: Contender, prepare: Callable[[], Timed | str]) -> Timed | str:
    """What `prepare` makes, or why not: a peer's failure of any kind. A failure of ours ends the run."""
    if reason := contender.missing():
        return reason
    try:
        return prepare()
    except Exception as failure:
        if contender.exact:
            raise
        return f"{type(failure).__name__}: {str(failure)[:80]}"


def _entry(contender: Contender, layer: Layer, m: int, cache_bytes: int) -> Timed | str:
    x = activations(m, layer.k)
    if reason := gate.check_contender(contender, Problem.make(layer.n, layer.k, 0), x):
        if contender.exact:
            raise WrongResultError(f"{layer.n}x{layer.k} M={m} {contender.name}: {reason}")
        return reason
    size = int(layer.n * layer.k * contender.weight_bits / 8)
    calls: list[Callable[[], Tensor]] = []
    for seed in range(copies_for(size, cache_bytes, torch.cuda.mem_get_info()[0])):
        linear = contender.build(Problem.make(layer.n, layer.k, seed))
        calls.append(partial(linear.run, linear.prepare(x)))
    return timed(calls, cache_bytes)


def _chain_entry(contender: Contender, m: int, cache_bytes: int) -> Timed:
    size = sum(int(n * k * contender.weight_bits / 8) for n, k in chain.SHAPES)
    copies = copies_for(size, cache_bytes, torch.cuda.mem_get_info()[0])
    return timed(chain.chains(contender, activations(m, chain.HIDDEN), copies), cache_bytes)

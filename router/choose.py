"""Stop 4, model -> ordered upstreams: a pure function over a snapshot of their health and load."""

from __future__ import annotations

from collections.abc import Iterable

from contracts.catalog import Operation, Upstream
from router.ports import Candidate


def choose(candidates: Iterable[Candidate], operation: Operation, turn: int = 0) -> list[Upstream]:
    """Healthy upstreams that have the operation, least loaded per weight first. Equal ones take turns.

    Where none is healthy, those that still answer: otherwise one client whose calls make a server answer 500 could
    take a model from everybody.
    """
    able = [c for c in candidates if c.upstream.weight > 0 and operation not in c.lacks]
    fit = [c for c in able if c.healthy] or [c for c in able if c.answers]
    if len(fit) > 1:
        shift = turn % len(fit)
        fit = fit[shift:] + fit[:shift]
        fit.sort(key=_pressure)
    return [candidate.upstream for candidate in fit]


def _pressure(candidate: Candidate) -> float:
    return (candidate.load + 1) / candidate.upstream.weight

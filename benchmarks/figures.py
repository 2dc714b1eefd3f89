"""From trials to figures: a median with its spread per column, and the ratios that the project set itself."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import isnan

from benchmarks.bench import Result
from benchmarks.trial import Trial

MILLI = 1e3
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Figure:
    """One value over all rounds: the median, and the lowest and highest round."""

    median: float
    low: float
    high: float

    def text(self) -> str:
        if isnan(self.median):
            return "-"
        middle = spell(self.median)
        if self.low == self.high:
            return middle
        return f"{middle} ({spell(self.low)}..{spell(self.high)})"


def spell(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def figure(values: Iterable[float]) -> Figure:
    """NaN for no values, or when a round has none."""
    known = [value for value in values if not isnan(value)]
    if not known:
        return Figure(float("nan"), float("nan"), float("nan"))
    return Figure(statistics.median(known), min(known), max(known))


@dataclass(frozen=True)
class Row:
    """A contender in the table. Latencies in milliseconds and over `direct`, CPU in microseconds per answer."""

    name: str
    version: str
    absent: str | None
    columns: dict[str, Figure]
    parts: dict[str, tuple[Figure, Figure]]
    failures: Counter[str]


COLUMNS = {
    "requests/s": "requests_per_second",
    "added p50 ms": "added_p50_milliseconds",
    "added p99 ms": "added_p99_milliseconds",
    "first token p50 ms": "first_token_p50_milliseconds",
    "first token p99 ms": "first_token_p99_milliseconds",
    "CPU µs/unary": "unary_cpu_microseconds",
    "CPU µs/stream": "stream_cpu_microseconds",
    "RSS MiB": "rss_mebibytes",
}
"""Heading -> key in the JSON."""


def rows(results: Sequence[Result]) -> list[Row]:
    direct = next(result for result in results if result.name == "direct")
    return [row(result, direct.trials) for result in results]


def row(result: Result, direct: Sequence[Trial]) -> Row:
    trials = result.trials
    is_direct = trials is direct

    def over(read: Callable[[Trial], float]) -> Figure:
        return figure(() if is_direct else (read(t) for t in trials))

    pairs = [] if is_direct else list(zip(trials, direct, strict=False))
    columns = {
        "requests_per_second": figure(t.requests_per_second for t in trials),
        "added_p50_milliseconds": figure((t.latency_p50 - d.latency_p50) * MILLI for t, d in pairs),
        "added_p99_milliseconds": figure((t.latency_p99 - d.latency_p99) * MILLI for t, d in pairs),
        "first_token_p50_milliseconds": figure(t.first_token_p50 * MILLI for t in trials),
        "first_token_p99_milliseconds": figure(t.first_token_p99 * MILLI for t in trials),
        "unary_cpu_microseconds": over(lambda t: t.unary_cost.gateway),
        "stream_cpu_microseconds": over(lambda t: t.stream_cost.gateway),
        "rss_mebibytes": over(lambda t: t.rss_bytes / MEBIBYTE),
    }
    failures = sum((t.failures for t in trials), Counter[str]())
    return Row(result.name, result.version, result.absent, columns, parts(trials), failures)


def parts(trials: Sequence[Trial]) -> dict[str, tuple[Figure, Figure]]:
    """Server -> its CPU per unary request and per stream."""
    names = trials[0].unary_cost.parts if trials else ()
    return {
        name: (figure(t.unary_cost.parts[name] for t in trials), figure(t.stream_cost.parts[name] for t in trials))
        for name in names
    }


@dataclass(frozen=True)
class Goal:
    """A ratio of CPU time that the project wants to reach, and what this run shows."""

    text: str
    ratio: float
    met: bool


def goals(table: Sequence[Row]) -> list[Goal]:
    """Empty for every pair that is not in the table with figures."""
    by_name = {row.name: row for row in table if row.absent is None}
    wanted = [
        goal(by_name, "unary_cpu_microseconds", "tern", "vllm-router", at_most=6),
        goal(by_name, "stream_cpu_microseconds", "tern", "vllm-router", at_most=3),
        goal(by_name, "unary_cpu_microseconds", "litellm", "tern", at_least=20),
        goal(by_name, "stream_cpu_microseconds", "litellm", "tern", at_least=20),
    ]
    return [made for made in wanted if made is not None]


def goal(
    table: dict[str, Row],
    key: str,
    over: str,
    under: str,
    at_most: float | None = None,
    at_least: float | None = None,
) -> Goal | None:
    if over not in table or under not in table:
        return None
    ratio = table[over].columns[key].median / table[under].columns[key].median
    met = ratio <= at_most if at_most is not None else ratio >= (at_least or 0)
    bound = f"at most {at_most:g}" if at_most is not None else f"at least {at_least:g}"
    kind = "unary request" if key.startswith("unary") else "paced stream"
    return Goal(f"CPU per {kind}, {over} / {under}, {bound}", ratio, met)

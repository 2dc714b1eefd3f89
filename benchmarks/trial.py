"""One trial of one contender: three loads, with the CPU time of its processes read before and after each.

- `light`: one request at a time, for the latency that a gateway adds when nothing waits
- `unary`: a closed loop that fills the gateway's core, for throughput and CPU per request
- `streams`: paced streams side by side, for time to first token and CPU per stream
"""

from __future__ import annotations

import asyncio
import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.contenders.contract import Standing
from benchmarks.load import Demand, Outcome, run_load
from benchmarks.measure import cpu_seconds, rss_bytes

STREAM_TOKENS = 64
PACE_SECONDS = 0.010
AFTERWORK_SECONDS = 1.0
"""Work that a gateway puts off until after its answer (settling, logging) still belongs to the request."""

MICRO = 1e6


@dataclass(frozen=True)
class Plan:
    """How long a run is. Every phase ends at its count or its time, whichever comes first."""

    rounds: int
    light: Demand
    unary: Demand
    streams: Demand
    warm: tuple[Demand, ...]


def plan(quick: bool, rounds: int | None) -> Plan:
    scale = 0.25 if quick else 1.0
    unary = Demand(STREAM_TOKENS, stream=False, lanes=16, requests=20_000, seconds=4 * scale)
    spread = STREAM_TOKENS * PACE_SECONDS
    streams = Demand(
        STREAM_TOKENS, stream=True, lanes=32, requests=int(256 * scale), seconds=20, spread_seconds=spread
    )
    return Plan(
        rounds=rounds or (1 if quick else 5),
        light=Demand(STREAM_TOKENS, stream=False, lanes=1, requests=int(400 * scale), seconds=8 * scale),
        unary=unary,
        streams=streams,
        warm=(
            Demand(STREAM_TOKENS, stream=False, lanes=16, requests=1000, seconds=3 * scale),
            Demand(STREAM_TOKENS, stream=True, lanes=32, requests=32, seconds=3),
        ),
    )


@dataclass(frozen=True)
class Cost:
    """CPU microseconds per answer: of the gateway's process tree, and of each part that it leans on."""

    gateway: float
    parts: Mapping[str, float]


@dataclass(frozen=True)
class Trial:
    """The figures of one contender in one round; seconds unless the name says otherwise."""

    requests_per_second: float
    latency_p50: float
    latency_p99: float
    first_token_p50: float
    first_token_p99: float
    unary_cost: Cost
    stream_cost: Cost
    rss_bytes: int
    failures: Counter[str] = field(default_factory=Counter)


async def warm_up(standing: Standing, plan: Plan) -> None:
    for demand in plan.warm:
        await run_load(standing.target, demand)


async def run_trial(standing: Standing, plan: Plan) -> Trial:
    light = await run_load(standing.target, plan.light)
    unary, unary_cost = await costed(standing, plan.unary)
    streams, stream_cost = await costed(standing, plan.streams)
    return Trial(
        requests_per_second=unary.answered / unary.seconds,
        latency_p50=percentile(light.latencies, 50),
        latency_p99=percentile(light.latencies, 99),
        first_token_p50=percentile(streams.first_words, 50),
        first_token_p99=percentile(streams.first_words, 99),
        unary_cost=unary_cost,
        stream_cost=stream_cost,
        rss_bytes=rss_bytes(standing.pid) if standing.pid else 0,
        failures=light.failures + unary.failures + streams.failures,
    )


async def costed(standing: Standing, demand: Demand) -> tuple[Outcome, Cost]:
    before = cpu_by_name(standing)
    outcome = await run_load(standing.target, demand)
    await asyncio.sleep(AFTERWORK_SECONDS)
    after = cpu_by_name(standing)
    spent = {name: (after[name] - before[name]) * MICRO / max(1, outcome.answered) for name in before}
    return outcome, Cost(spent.pop("gateway", 0.0), spent)


def cpu_by_name(standing: Standing) -> dict[str, float]:
    pids = dict(standing.parts)
    if standing.pid is not None:
        pids["gateway"] = standing.pid
    return {name: cpu_seconds(pid) for name, pid in pids.items()}


def percentile(values: list[float], percent: int) -> float:
    """NaN without values: a phase in which every answer failed has no latency."""
    if len(values) < 2:
        return values[0] if values else float("nan")
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]

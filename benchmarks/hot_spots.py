"""Where Tern's router spends its CPU under the bench's own load.

py-spy samples it from outside, so that nothing in the router changes. Two columns: what runs (own), and what it
runs for (with all that it calls).
"""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import chain, zip_longest
from pathlib import Path

import uvloop
from rich.table import Table

from benchmarks.bench import run_site, stand
from benchmarks.contenders.environment import install_from_pip
from benchmarks.contenders.tern import Tern
from benchmarks.load import Demand, Target, run_load
from benchmarks.process import ContenderError
from benchmarks.trial import plan

SAMPLES_PER_SECOND = 500


class LoadKind(StrEnum):
    UNARY = "unary"
    STREAMS = "streams"


@dataclass(frozen=True)
class Profile:
    """Samples by function: at the end of the stack, and anywhere on it; `places` sums the former by package, and
    by file where it is the router's own. `failures` are answers that were not right while it was sampled."""

    own: Counter[str] = field(default_factory=Counter)
    inclusive: Counter[str] = field(default_factory=Counter)
    places: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)


def profile_router(kind: LoadKind, seconds: int, native: bool, work: Path) -> Profile:
    """Load Tern and sample its router; raises ContenderError. `native` also names C functions."""
    install_from_pip("profiler", work)
    schedule = plan(quick=False, rounds=1)
    chosen = schedule.unary if kind is LoadKind.UNARY else schedule.streams
    demand = replace(chosen, requests=10**9, seconds=seconds + 1.0)
    stacks = work / f"profile-{kind}.txt"
    with run_site(work) as site, ExitStack() as stack:
        standing = stand(Tern(), site, schedule, stack)
        argv: list[str | Path] = [
            work / "profiler/bin/py-spy",
            "record",
            "--pid",
            str(standing.pid),
            "--duration",
            str(seconds),
        ]
        argv += ["--rate", str(SAMPLES_PER_SECOND), "--format", "raw", "--output", stacks]
        failures = sample([*argv, *["--native"] * native], standing.target, demand)
    return replace(read_stacks(stacks.read_text().splitlines()), failures=failures)


def sample(argv: list[str | Path], target: Target, demand: Demand) -> Counter[str]:
    """The failures of the load while the sampler ran; raises ContenderError."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as sampler:
        outcome = uvloop.run(run_load(target, demand))
        said, _ = sampler.communicate()
    if sampler.returncode != 0:
        raise ContenderError(f"py-spy could not sample the router: {said.strip()}")
    return outcome.failures


def read_stacks(lines: Iterable[str]) -> Profile:
    """`a;b;c 17` per line, outermost first. A function that recurses counts once per sample."""
    profile = Profile()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        frames = [without_line(frame) for frame in stack.split(";")]
        profile.own[frames[-1]] += int(count)
        profile.places[place(frames[-1])] += int(count)
        for frame in set(frames):
            profile.inclusive[frame] += int(count)
    return profile


def place(frame: str) -> str:
    """`feed (router/answers/tap.py)` -> `router/answers/tap.py`; `send (aiohttp/client.py)` -> `aiohttp`."""
    path = frame.rpartition("(")[2].removesuffix(")")
    return path if path.startswith(("router/", "contracts/")) else path.partition("/")[0]


def without_line(frame: str) -> str:
    """`feed (router/answers/tap.py:74)` -> `feed (router/answers/tap.py)`."""
    name, colon, line = frame.rpartition(":")
    return f"{name})" if colon and line.removesuffix(")").isdigit() else frame


def as_table(profile: Profile, rows: int) -> Table:
    total = profile.own.total()
    table = Table(title=f"{total} samples, percent of them")
    columns = {"own": profile.own, "with callees": profile.inclusive, "own, by place": profile.places}
    for heading in columns:
        table.add_column("%", justify="right")
        table.add_column(heading, overflow="fold")
    ranked = [
        [(f"{100 * count / total:.1f}", name) for name, count in counts.most_common(rows)]
        for counts in columns.values()
    ]
    for cells in zip_longest(*ranked, fillvalue=("", "")):
        table.add_row(*chain.from_iterable(cells))
    return table

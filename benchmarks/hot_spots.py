"""Where Tern's router spends its CPU under the bench's own load.

py-spy samples it from outside, so that nothing in the router changes. Two columns: what runs (own), and what it
runs for (with all that it calls).
"""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import StrEnum
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
    """Samples by function: at the end of the stack, and anywhere on it."""

    own: Counter[str]
    inclusive: Counter[str]


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
        sample([*argv, *["--native"] * native], standing.target, demand)
    return read_stacks(stacks.read_text().splitlines())


def sample(argv: list[str | Path], target: Target, demand: Demand) -> None:
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as sampler:
        uvloop.run(run_load(target, demand))
        said, _ = sampler.communicate()
    if sampler.returncode != 0:
        raise ContenderError(f"py-spy could not sample the router: {said.strip()}")


def read_stacks(lines: Iterable[str]) -> Profile:
    """`a;b;c 17` per line, outermost first. A function that recurses counts once per sample."""
    profile = Profile(Counter(), Counter())
    for line in lines:
        stack, _, count = line.rpartition(" ")
        frames = [without_line(frame) for frame in stack.split(";")]
        profile.own[frames[-1]] += int(count)
        for frame in set(frames):
            profile.inclusive[frame] += int(count)
    return profile


def without_line(frame: str) -> str:
    """`feed (router/tap.py:74)` -> `feed (router/tap.py)`."""
    name, colon, line = frame.rpartition(":")
    return f"{name})" if colon and line.removesuffix(")").isdigit() else frame


def as_table(profile: Profile, rows: int) -> Table:
    total = profile.own.total()
    table = Table(title=f"{total} samples, percent of them")
    for heading in ("own", "function", "with callees", "function"):
        table.add_column(heading, justify="right" if heading != "function" else "left", overflow="fold")
    pairs = zip(profile.own.most_common(rows), profile.inclusive.most_common(rows), strict=False)
    for (own, own_count), (outer, outer_count) in pairs:
        table.add_row(f"{100 * own_count / total:.1f}", own, f"{100 * outer_count / total:.1f}", outer)
    return table

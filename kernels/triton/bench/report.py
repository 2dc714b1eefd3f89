"""Rows of a measurement: CSV for machines, a table for people."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from bench.shapes import Layer
from bench.statistics import Spread, gigabytes_per_second, least_bytes, teraops


@dataclass(frozen=True)
class Stamp:
    """Where and when: repeated in every row, so that a row stands alone."""

    measured_at: str = ""
    device: str = ""
    driver: str = ""
    cuda: str = ""
    torch: str = ""
    triton: str = ""
    sm_clock: str = ""
    power: str = ""
    temperature: str = ""


@dataclass(frozen=True)
class Peaks:
    """What the GPU reached in the same run: the denominators."""

    read_gbps: float
    copy_gbps: float
    bf16_teraops: float
    int8_teraops: float


@dataclass(frozen=True)
class Row:
    """One contender at one layer and M. `time` in microseconds, or None and the reason in `not_run`."""

    layer: Layer
    m: int
    contender: str
    mode: str
    stamp: Stamp
    weight_bits: float = 0
    method: str = ""
    time: Spread | None = None
    not_run: str = ""
    rates: Mapping[str, str] = field(default_factory=dict)


RATES = ("gbps", "of_read_bandwidth", "teraops", "of_int8_peak", "read_gbps", "int8_peak_teraops")
COLUMNS = (
    "model", "layer", "n", "k", "m", "contender", "mode", "method", "median_us", "p10_us", "p90_us", *RATES,
    "not_run", *(part.name for part in fields(Stamp)),
)  # fmt: skip


def rates(layer: Layer, m: int, weight_bits: float, time: Spread, peaks: Peaks) -> dict[str, str]:
    """Bandwidth and arithmetic of a time, their fractions of what the GPU reached, and what that was."""
    gbps = gigabytes_per_second(least_bytes(m, layer.n, layer.k, weight_bits), time.median)
    done = teraops(m, layer.n, layer.k, time.median)
    fractions = (gbps / peaks.read_gbps, done / peaks.int8_teraops)
    found = (f"{gbps:.0f}", f"{fractions[0]:.3f}", f"{done:.1f}", f"{fractions[1]:.3f}")
    return dict(zip(RATES, (*found, f"{peaks.read_gbps:.0f}", f"{peaks.int8_teraops:.1f}"), strict=True))


def flat(row: Row) -> dict[str, object]:
    """A row as the CSV's columns; numbers that were not measured are empty."""
    times = {f"{name}_us": f"{value:.2f}" for name, value in row.time._asdict().items()} if row.time else {}
    named = {"layer": row.layer.name, "model": row.layer.model, "n": row.layer.n, "k": row.layer.k}
    shown = {
        "m": row.m,
        "contender": row.contender,
        "mode": row.mode,
        "method": row.method,
        "not_run": row.not_run,
    }
    return {**dict.fromkeys(COLUMNS, ""), **named, **shown, **times, **row.rates, **vars(row.stamp)}


def write_csv(path: Path, rows: Iterable[Row]) -> list[Row]:
    """Each row as it comes, so that what was measured outlives a run that is cut short; returns them all."""
    written = []
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(flat(row))
            file.flush()
            written.append(row)
    return written


def table(rows: list[Row], goals: Mapping[tuple[int, int, int], float]) -> str:
    """Markdown: one line per layer, M and contender; our lines beside the goal where there is one."""
    lines = ["| layer | M | contender | mode | median µs | p10-p90 | of peak | goal |", "|" + "---|" * 8]
    for row in rows:
        goal = goals.get((row.layer.n, row.layer.k, row.m)) if row.contender.startswith("tern") else None
        time = f"{row.time.median:.2f}" if row.time else f"not run: {row.not_run}"
        around = f"{row.time.p10:.2f}-{row.time.p90:.2f}" if row.time else ""
        name = f"{row.layer.model} {row.layer.name} {row.layer.n}x{row.layer.k}"
        fractions = [row.rates[rate] for rate in ("of_read_bandwidth", "of_int8_peak") if row.rates]
        reached = max(fractions, key=float, default="")
        shown = (name, row.m, row.contender, row.mode, time, around, reached, goal or "")
        lines.append("| " + " | ".join(map(str, shown)) + " |")
    return "\n".join(lines) + "\n"

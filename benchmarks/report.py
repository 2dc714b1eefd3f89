"""The result of a run for people (terminal, Markdown) and for programs (JSON). No host name, no address."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from math import isnan
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.figures import COLUMNS, Figure, Goal, Row, goals
from benchmarks.trial import PACE_SECONDS, Plan


@dataclass(frozen=True)
class Report:
    made_at: datetime
    plan: Plan
    table: Sequence[Row]

    @property
    def goals(self) -> list[Goal]:
        return goals(self.table)


def headings() -> list[str]:
    return ["contender", *COLUMNS, "failed"]


def cells(row: Row) -> list[str]:
    failed = ", ".join(f"{count} x {reason}" for reason, count in row.failures.items())
    return [label(row), *(row.columns[key].text() for key in COLUMNS.values()), failed or "0"]


def label(row: Row) -> str:
    return row.name if row.version == "-" else f"{row.name} {row.version}"


def beside(table: Sequence[Row]) -> list[str]:
    """What a gateway leans on, with its own CPU time: it is not in the gateway's figures."""
    return [
        f"beside {row.name}, CPU µs per unary request / per stream: "
        + ", ".join(
            f"{name} {unary.median:.0f} / {stream.median:.0f}" for name, (unary, stream) in row.parts.items()
        )
        for row in table
        if row.parts
    ]


def print_report(report: Report, console: Console) -> None:
    table = Table(title="median (lowest..highest round)", caption=method(report.plan))
    for heading in headings():
        table.add_column(heading, justify="left" if heading == "contender" else "right")
    for row in report.table:
        if row.columns["requests_per_second"].text() != "-":
            table.add_row(*cells(row))
    console.print(table)
    for line in [*absences(report.table), *beside(report.table), *verdicts(report)]:
        console.print(line, markup=False, highlight=False)


def absences(table: Sequence[Row]) -> list[str]:
    return [f"{label(row)}: not measured to the end: {row.absent}" for row in table if row.absent is not None]


def verdicts(report: Report) -> list[str]:
    return [f"{'reached' if goal.met else 'MISSED'}: {goal.text}: {goal.ratio:.2f}" for goal in report.goals]


def method(plan: Plan) -> str:
    return (
        f"{plan.rounds} interleaved round(s). Every gateway on one core; load, model server and the servers beside"
        f" a gateway on another. Requests/s and CPU per unary request: {plan.unary.lanes} connections in a loop."
        f" Added latency: one request at a time, over direct in the same round. Streams: {plan.streams.tokens}"
        f" tokens {PACE_SECONDS * 1000:.0f} ms apart, {plan.streams.lanes} side by side. CPU: user and system time"
        " of the gateway's whole process tree, divided by answers."
    )


def markdown(report: Report) -> str:
    lines = ["| " + " | ".join(headings()) + " |", "|" + "---|" * len(headings())]
    for row in report.table:
        shown = cells(row) if row.absent is None else [label(row), f"not measured: {row.absent}"]
        lines.append("| " + " | ".join(shown + [""] * (len(headings()) - len(shown))) + " |")
    facts = ", ".join(f"{name} {value}" for name, value in machine().items())
    head = [
        f"# `make bench`, {report.made_at:%Y-%m-%d %H:%M} UTC",
        "",
        f"Machine: {facts}.",
        "",
        method(report.plan),
    ]
    return "\n".join(
        [*head, "", *lines, "", *(f"- {line}" for line in [*beside(report.table), *verdicts(report)]), ""]
    )


def machine() -> dict[str, str]:
    """What a reader needs to compare, and nothing that names the machine."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = models[0].partition(":")[2].strip() if models else platform.machine()
    return {
        "CPU": model,
        "cores": str(os.cpu_count()),
        "Linux": ".".join(platform.release().split(".")[:2]),
        "Python": platform.python_version(),
    }


def as_json(report: Report) -> str:
    contenders = [
        {
            "name": row.name,
            "version": row.version,
            "absent": row.absent,
            **{key: figure_json(value) for key, value in row.columns.items()},
            "beside": {
                name: {
                    "unary_cpu_microseconds": figure_json(unary),
                    "stream_cpu_microseconds": figure_json(stream),
                }
                for name, (unary, stream) in row.parts.items()
            },
            "failures": dict(row.failures),
        }
        for row in report.table
    ]
    document = {
        "made_at": report.made_at.isoformat(timespec="seconds"),
        "machine": machine(),
        "plan": asdict(report.plan),
        "contenders": contenders,
        "goals": [asdict(goal) for goal in report.goals],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def figure_json(value: Figure) -> dict[str, float] | None:
    if isnan(value.median):
        return None
    return {name: round(number, 3) for name, number in asdict(value).items()}


def write_report(report: Report, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "latest.json").write_text(as_json(report))
    (folder / "latest.md").write_text(markdown(report))

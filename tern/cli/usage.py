"""tern usage"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from tern.cli.amounts import NANO_PER_USD, usd_of_nano
from tern.cli.plot import bars
from tern.cli.session import Session, session_of, table_of

PLOT_WIDTH: Final = 40
WIDTHS: Final = {"1d": (86400, 31, "%Y-%m-%d"), "1h": (3600, 168, "%m-%d %H:%M"), "1m": (60, 1440, "%H:%M")}
"""Bucket width -> seconds, most buckets, how a bucket is called."""


class By(StrEnum):
    MODEL = "model"
    PROJECT = "project"
    KEY = "key"
    USER = "user"


FIELD: Final = {By.MODEL: "model", By.PROJECT: "project_id", By.KEY: "api_key_id", By.USER: "user_id"}


@dataclass(slots=True)
class Line:
    """What one model, project, key or owner used."""

    requests: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost_nano_usd: int = 0

    def add(self, result: dict[str, Any]) -> None:
        self.requests += result["num_model_requests"]
        self.input_tokens += result["input_tokens"]
        self.cached_tokens += result.get("input_cached_tokens", 0)
        self.output_tokens += result.get("output_tokens", 0)


def usage(
    context: typer.Context,
    days: Annotated[int, typer.Option(min=1, max=31, help="So many days, today included.")] = 7,
    hours: Annotated[int | None, typer.Option(min=1, max=168, help="Rather so many hours.")] = None,
    minutes: Annotated[int | None, typer.Option(min=1, max=1440, help="Rather so many minutes.")] = None,
    by: Annotated[By, typer.Option(help="One line for each.")] = By.MODEL,
) -> None:
    """What was used and what it cost, and tokens over time. Times are UTC; costs are kept by whole days."""
    session = session_of(context)
    width, buckets = ("1m", minutes) if minutes else ("1h", hours) if hours else ("1d", days)
    start = _start(width, buckets or days, time.time())
    lines, tokens = _used(session, start, width, by)
    if width == "1d":
        _add_costs(session, start, by, lines)
    if session.as_json:
        session.say_json({"start_time": start, "by": by, "lines": _as_data(lines, width), "tokens": tokens})
        return
    _show(session, lines, tokens, width, by)


def _start(width: str, buckets: int, now: float) -> int:
    """The beginning of the first bucket, so that the present one is the last."""
    seconds = WIDTHS[width][0]
    return int(now) // seconds * seconds - (buckets - 1) * seconds


def _used(session: Session, start: int, width: str, by: By) -> tuple[dict[str, Line], dict[int, int]]:
    lines: dict[str, Line] = defaultdict(Line)
    tokens: dict[int, int] = defaultdict(int)
    asked = {"start_time": start, "bucket_width": width, "limit": WIDTHS[width][1], "group_by[]": FIELD[by]}
    for report in ("usage/completions", "usage/embeddings"):
        for bucket in session.gateway.buckets(report, **asked):
            tokens[bucket["start_time"]] += 0
            for result in bucket["results"]:
                lines[result[FIELD[by]]].add(result)
                tokens[bucket["start_time"]] += result["input_tokens"] + result.get("output_tokens", 0)
    return lines, tokens


def _add_costs(session: Session, start: int, by: By, lines: dict[str, Line]) -> None:
    group = "line_item" if by is By.MODEL else FIELD[by]
    for bucket in session.gateway.buckets("costs", **{"start_time": start, "limit": 180, "group_by[]": group}):
        for result in bucket["results"]:
            name = result[group]
            if by is By.MODEL:
                name = name.rpartition(", ")[0]
            lines[name].cost_nano_usd += _nano(result["amount"]["value_decimal"])


def _nano(decimal: str) -> int:
    """Exactly: the float beside it is for charts."""
    whole, _, part = decimal.removeprefix("-").partition(".")
    amount = int(whole) * NANO_PER_USD + int(part.ljust(9, "0"))
    return -amount if decimal.startswith("-") else amount


def _show(session: Session, lines: dict[str, Line], tokens: dict[int, int], width: str, by: By) -> None:
    if not lines:
        session.console.print("Nothing was used in this time. `tern chat` changes that.")
        return
    rows = [_row(name, line, width) for name, line in sorted(lines.items())]
    if len(lines) > 1:
        rows.append(_row("total", _total(lines), width))
    cost = ["cost>"] if width == "1d" else []
    columns = [by.value, "requests>", "input>", "of it cached>", "output>", *cost]
    session.console.print(table_of(columns, rows))
    session.console.print("\n[bold]tokens[/]")
    labels = [datetime.fromtimestamp(start, UTC).strftime(WIDTHS[width][2]) for start in sorted(tokens)]
    for text in bars(labels, [tokens[start] for start in sorted(tokens)], PLOT_WIDTH):
        session.console.print(text, highlight=False, markup=False)


def _row(name: str, line: Line, width: str) -> tuple[str, ...]:
    counts = (line.requests, line.input_tokens, line.cached_tokens, line.output_tokens)
    cost = (usd_of_nano(line.cost_nano_usd),) if width == "1d" else ()
    return (name, *(f"{count:,}" for count in counts), *cost)


def _total(lines: dict[str, Line]) -> Line:
    names = ("requests", "input_tokens", "cached_tokens", "output_tokens", "cost_nano_usd")
    return Line(*(sum(getattr(line, name) for line in lines.values()) for name in names))


def _as_data(lines: dict[str, Line], width: str) -> list[dict[str, Any]]:
    cost = ("cost_nano_usd",) if width == "1d" else ()
    names = ("requests", "input_tokens", "cached_tokens", "output_tokens", *cost)
    return [{"name": name, **{field: getattr(line, field) for field in names}} for name, line in lines.items()]

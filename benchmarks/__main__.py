"""`python -m benchmarks`: one command, one table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.bench import ROOT, run_bench, run_site
from benchmarks.contenders import all_contenders
from benchmarks.contenders.contract import Contender
from benchmarks.figures import rows as table_rows
from benchmarks.hot_spots import LoadKind, as_table, profile_router
from benchmarks.report import Report, print_report, write_report
from benchmarks.trial import plan

app = typer.Typer(add_completion=False)


@app.callback(invoke_without_command=True)
def bench(
    context: typer.Context,
    only: Annotated[list[str] | None, typer.Option(help="Measure only this contender; repeatable.")] = None,
    quick: Annotated[bool, typer.Option(help="One short round: is everything alive?")] = False,
    rounds: Annotated[int | None, typer.Option(help="Rounds of the run.")] = None,
    results: Annotated[Path | None, typer.Option(help="Write latest.json and latest.md here.")] = None,
) -> None:
    """Measure every contender side by side, each gateway pinned to the same core."""
    if context.invoked_subcommand is not None:
        return
    console = terminal()
    chosen = choose(only or [])
    schedule = plan(quick, rounds)
    with run_site(ROOT / ".bench") as site:
        outcome = run_bench(chosen, site, schedule, lambda line: console.print(line, style="dim"))
    report = Report(datetime.now(UTC), schedule, table_rows(outcome))
    print_report(report, console)
    whole = not only and not quick
    if folder := results or (ROOT / "benchmarks/results" if whole else None):
        write_report(report, folder)


@app.command("profile")
def hot_spots(
    kind: Annotated[LoadKind, typer.Argument(help="What the router is loaded with.")] = LoadKind.UNARY,
    seconds: Annotated[int, typer.Option(help="How long it is sampled.")] = 10,
    native: Annotated[bool, typer.Option(help="Name C functions too.")] = False,
    rows: Annotated[int, typer.Option(help="Functions to list.")] = 40,
) -> None:
    """Show where Tern's router spends its CPU."""
    profile = profile_router(kind, seconds, native, ROOT / ".bench")
    terminal().print(as_table(profile, rows))
    for reason, count in profile.failures.items():
        terminal().print(f"{count} calls failed while it was sampled: {reason}")


def terminal() -> Console:
    """Wide where nobody set a width: a log or a pipe."""
    return Console(width=None if sys.stdout.isatty() else 200)


def choose(only: Sequence[str]) -> list[Contender]:
    """`direct` is always there: the others are measured against it."""
    contenders = all_contenders()
    if unknown := set(only) - {contender.name for contender in contenders}:
        raise typer.BadParameter(f"unknown contender: {', '.join(sorted(unknown))}")
    return [each for each in contenders if not only or each.name in (*only, "direct")]


if __name__ == "__main__":
    app()

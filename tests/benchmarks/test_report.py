"""The table says what was measured, what was not and why, and whether the goals were reached."""

from __future__ import annotations

import io
import json
import platform
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from benchmarks.bench import Result
from benchmarks.contenders import all_contenders
from benchmarks.contenders.environment import pinned_version
from benchmarks.figures import figure, goals, rows
from benchmarks.report import Report, as_json, markdown, print_report, write_report
from benchmarks.trial import Cost, Trial, plan


def trial(unary: float, stream: float, latency: float = 0.001, failures: dict[str, int] | None = None) -> Trial:
    return Trial(
        requests_per_second=1000,
        latency_p50=latency,
        latency_p99=2 * latency,
        first_token_p50=0.002,
        first_token_p99=0.004,
        unary_cost=Cost(unary, {"redis": 7.0}),
        stream_cost=Cost(stream, {"redis": 30.0}),
        rss_bytes=64 * 2**20,
        failures=Counter(failures or {}),
    )


def report() -> Report:
    results = [
        Result("direct", "-", [trial(0, 0, latency=0.001)] * 3),
        Result("vllm-router", "0.1", [trial(40, 2000, latency=0.002)] * 3),
        Result("tern", "here", [trial(us, 3000, latency=0.003) for us in (190, 200, 260)]),
        Result("litellm", "1.0", [trial(3900, 70_000, failures={"status 500": 2})]),
        Result("portkey", "1.0", absent="could not be installed"),
    ]
    return Report(datetime(2026, 1, 2, 3, 4, tzinfo=UTC), plan(quick=True, rounds=3), rows(results))


def test_a_figure_is_the_median_with_the_lowest_and_the_highest_round() -> None:
    assert figure([260, 190, 200]).text() == "200 (190..260)"
    assert figure([5, float("nan")]).text() == "5"
    assert figure([]).text() == "-"


def test_added_latency_is_over_direct_in_the_same_round() -> None:
    tern = next(row for row in report().table if row.name == "tern")
    assert tern.columns["added_p50_milliseconds"].text() == "2"


def test_goals_are_judged_as_they_came_out() -> None:
    assert [(round(goal.ratio, 2), goal.met) for goal in goals(report().table)] == [
        (5.0, True),
        (1.5, True),
        (19.5, False),
        (23.33, True),
    ]


def test_a_goal_without_its_peer_is_not_judged() -> None:
    assert goals([row for row in report().table if row.name != "litellm"])[2:] == []


def test_an_absent_contender_is_listed_with_the_reason() -> None:
    shown = io.StringIO()
    print_report(report(), Console(file=shown, width=200))
    assert "portkey 1.0: not measured to the end: could not be installed" in shown.getvalue()
    assert "| portkey 1.0 | not measured: could not be installed |" in markdown(report())


def test_the_table_shows_costs_parts_failures_and_verdicts() -> None:
    text = markdown(report())
    assert "200 (190..260)" in text
    assert "redis 7 / 30" in text
    assert "2 x status 500" in text
    assert "MISSED: CPU per unary request, litellm / tern, at least 20: 19.50" in text


def test_the_written_result_names_no_machine(tmp_path: Path) -> None:
    write_report(report(), tmp_path)
    written = (tmp_path / "latest.json").read_text() + (tmp_path / "latest.md").read_text()
    assert platform.node() not in written
    document = json.loads(as_json(report()))
    assert document["contenders"][2]["unary_cpu_microseconds"] == {"median": 200, "low": 190, "high": 260}
    assert document["contenders"][4]["absent"] == "could not be installed"


def test_every_peer_is_pinned() -> None:
    peers = {each.name for each in all_contenders()} - {"direct", "tern"}
    assert peers == {"vllm-router", "sglang-router", "portkey", "litellm"}
    assert all(pinned_version(name)[0].isdigit() for name in peers)

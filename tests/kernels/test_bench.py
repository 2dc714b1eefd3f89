"""The parts of the bench that decide what a number means; the measuring itself needs a GPU."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bench import gate, shapes
from bench.contenders import contenders
from bench.problem import Contender, Linear, Problem
from bench.report import COLUMNS, Peaks, Row, Stamp, rates, table, write_csv
from bench.statistics import Spread, clearly_faster, gigabytes_per_second, least_bytes, spread, teraops
from bench.timing import Timed as TimedCall
from bench.timing import copies_for, interleaved
from bench.tune import BUCKETS, candidates, first_of, pick
from ternary_kernels import launch
from ternary_kernels.offline import DEVICES
from ternary_kernels.packing import CODE_SLACK

from tests.kernels.layers import activations, layer

ROOT = Path(__file__).parents[2]
SQUARE = shapes.Layer("square", "square", 8192, 8192)
PEAKS = Peaks(read_gbps=3000, copy_gbps=2500, bf16_teraops=700, int8_teraops=1300)


def test_median_and_spread_of_known_samples() -> None:
    assert spread([float(value) for value in range(1, 12)]) == Spread(6.0, 2.0, 10.0)


def test_the_rates_of_a_known_time() -> None:
    assert gigabytes_per_second(3_000_000, 1.0) == 3000.0
    assert teraops(1, 8192, 8192, 134.217728) == pytest.approx(1.0)
    assert least_bytes(1, 8192, 8192, 2) == 8192 * 8192 // 4 + 8192 + 2 * 8192


def test_a_winner_must_beat_the_default_beyond_the_spread_of_both() -> None:
    default = Spread(10.0, 9.0, 11.0)
    assert pick([default, Spread(8.0, 7.9, 8.5), Spread(7.0, 6.5, 9.5)]) == 0
    assert pick([default, Spread(8.0, 7.9, 8.5)]) == 1
    assert not clearly_faster(default, default)


@pytest.mark.parametrize(
    ("weight_mb", "free_gb", "copies"), [(16.8, 80, 9), (0.5, 80, 300), (500.0, 80, 2), (16.8, 0.1, 2)]
)
def test_the_copies_walked_over_exceed_the_cache_three_times(
    weight_mb: float, free_gb: float, copies: int
) -> None:
    assert copies_for(int(weight_mb * 1e6), 50_000_000, int(free_gb * 1e9)) == copies


def test_contenders_are_timed_in_turns_and_the_first_round_is_dropped() -> None:
    order: list[str] = []

    def entry(name: str) -> TimedCall:
        def replay() -> float:
            order.append(name)
            return float(len(order))

        return TimedCall(replay, "graph")

    samples = interleaved({"ours": entry("ours"), "peer": entry("peer")}, rounds=2)
    assert order == ["ours", "peer"] * 3
    assert samples == {"ours": [3.0, 5.0], "peer": [4.0, 6.0]}


def test_a_row_carries_its_time_its_rates_and_its_origin(tmp_path: Path) -> None:
    time = Spread(8.0, 7.9, 8.2)
    stamp = Stamp("2026-01-01T00:00:00+00:00", "H100", "580", "13.0", "2.11", "3.6")
    rows = [
        Row(SQUARE, 1, "tern", "kernel", stamp, 2, "graph", time, rates=rates(SQUARE, 1, 2, time, PEAKS)),
        Row(SQUARE, 1, "humming-w2a8", "full", stamp, 2, not_run="humming is not installed"),
    ]
    write_csv(tmp_path / "rows.csv", rows)
    with (tmp_path / "rows.csv").open() as file:
        first, second = csv.DictReader(file)
    assert tuple(first) == COLUMNS
    assert (first["median_us"], first["device"], first["driver"]) == ("8.00", "H100", "580")
    assert float(first["of_read_bandwidth"]) == pytest.approx(0.7, abs=0.01)
    assert second["median_us"] == "" and second["not_run"] == "humming is not installed"
    assert (first["read_gbps"], first["int8_peak_teraops"]) == ("3000", "1300.0")
    text = table(rows, {(8192, 8192, 1): 8.0})
    assert "| 8.00 | 7.90-8.20 | 0.700 | 8.0 |" in text and "not run: humming is not installed" in text


def test_what_was_measured_outlives_a_run_that_breaks(tmp_path: Path) -> None:
    def rows() -> Iterator[Row]:
        yield Row(SQUARE, 1, "tern", "kernel", Stamp(), time=Spread(8.0, 7.9, 8.2))
        raise RuntimeError("the GPU is gone")

    with pytest.raises(RuntimeError):
        write_csv(tmp_path / "rows.csv", rows())
    assert "8.00" in (tmp_path / "rows.csv").read_text()


def test_the_goals_of_an_h100_stand_beside_no_other_gpu() -> None:
    assert shapes.goals_of("NVIDIA H100 80GB HBM3")[8192, 8192, 1] == 8.0
    assert shapes.goals_of("NVIDIA A100-SXM4-80GB") == {}


def small_chain(rng: torch.Generator) -> list[Problem]:
    """The four linears at a size for the interpreter: hidden 128, queries and all 192, feed-forward 160."""
    shapes_of_four = ((192, 128), (128, 128), (320, 128), (128, 160))
    made = [layer(n, k, rng) for n, k in shapes_of_four]
    return [Problem(one.weights, one.packed, one.scale) for one in made]


def test_the_gate_takes_our_chain_and_notices_a_wrong_one(rng: torch.Generator) -> None:
    problems, x = small_chain(rng), activations(2, 128, rng)
    assert gate.check_chain(x, problems) is None
    wrong = replace(problems[2], packed=problems[2].packed.flip(0).contiguous())
    assert str(gate.check_chain(x, [*problems[:2], wrong, problems[3]])).startswith("relative error")


def test_a_result_of_ours_that_is_wrong_by_one_bit_is_no_result(rng: torch.Generator) -> None:
    made = layer(16, 128, rng)
    problem, x = Problem(made.weights, made.packed, made.scale), activations(2, 128, rng)
    assert gate.check_ours(problem, x) is None
    assert "the int32 sums differ" in str(gate.check_ours(replace(problem, weights=-made.weights), x))
    right = launch.linear(x, made.packed, made.scale, 128, None, None)
    wrong = right.clone()
    wrong.view(torch.int16)[1, 3] ^= 1
    for result, verdict in ((right, None), (wrong, "bits differ")):
        linear = Linear(lambda x: x, lambda x, result=result: result)
        ours = Contender("tern", "full", 2, lambda _, linear=linear: linear, lambda: None, exact=True)
        assert gate.check_contender(ours, problem, x) == verdict


def test_a_peer_that_is_not_installed_is_named_with_the_reason() -> None:
    missing = {one.name: one.missing() for one in contenders() if not one.name.startswith(("tern", "torch"))}
    assert missing == {
        "gemlite-a8w158": "gemlite is not installed",
        "gemlite-a16w158": "gemlite is not installed",
        "bitblas-int8xint2": "bitblas is not installed",
        "humming-w2a8": "humming is not installed",
        "humming-w2a16": "humming is not installed",
    }


def test_only_our_own_kernels_are_held_to_the_bits() -> None:
    held: list[Contender] = [one for one in contenders() if one.exact]
    assert held and all(one.name.startswith("tern") for one in held)


def test_every_goal_is_measured() -> None:
    measured = {(layer.n, layer.k) for layer in (*shapes.LAYERS, shapes.CHAIN)}
    assert all((goal.n, goal.k) in measured and goal.m in shapes.TOKENS for goal in shapes.H100_GOALS)


def test_a_winner_speaks_for_the_tokens_since_the_measurement_before() -> None:
    """A winner at 8192 tokens says nothing about one token, where the default may have won."""
    spoken_for = [m for size in BUCKETS for m in range(first_of(size), size + 1)]
    assert spoken_for == list(range(1, BUCKETS[-1] + 1))


@pytest.mark.parametrize("m", [1, 3, 16, 256, 4096])
def test_candidates_keep_what_the_kernels_rely_on(m: int) -> None:
    for plan in candidates(m, DEVICES[2]):
        assert 4 * plan.tile.get("STEP", 0) <= CODE_SLACK
        assert all(size & (size - 1) == 0 for size in plan.tile.values())


def test_without_a_gpu_the_command_says_so_and_measures_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "kernels" / "triton"), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "bench", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "no NVIDIA GPU can be used here; nothing was measured\n")
    assert not (tmp_path / "out").exists()

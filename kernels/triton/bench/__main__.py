"""python -m bench [--out DIR] [--model NAME] [--m M] [--rounds R] [--write-table]

On a machine with an NVIDIA GPU, from kernels/triton: first the correctness gate over every layer and M, then all
contenders interleaved, then the layer chain; rows to DIR/rows.csv, a table to DIR/table.md. Without a GPU one
sentence and exit status 2; with a red gate no number and exit status 1.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import torch
from ternary_kernels import dispatch

from bench import peaks, report, run, shapes, tune


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    if not torch.cuda.is_available():
        print("no NVIDIA GPU can be used here; nothing was measured", file=sys.stderr)
        return 2
    torch.backends.cuda.matmul.allow_tf32 = False
    layers, tokens = shapes.layers_of(options.model), tuple(options.m) or shapes.TOKENS
    if failures := list(run.failures(layers, tokens)):
        print("\n".join(failures), file=sys.stderr)
        return 1
    conditions = _conditions(options.rounds)
    measured = chain(run.layer_rows(layers, tokens, conditions), run.chain_rows(tokens, conditions))
    options.out.mkdir(parents=True, exist_ok=True)
    rows = report.write_csv(options.out / "rows.csv", _shown(measured))
    goals = shapes.goals_of(conditions.stamp.device)
    (options.out / "table.md").write_text(
        f"{conditions.stamp}\n{conditions.peaks}\n\n" + report.table(rows, goals)
    )
    if options.write_table:
        _write_table(layers, conditions)
    return 0


def _shown(rows: Iterable[report.Row]) -> Iterator[report.Row]:
    """Each row as it is measured, on stderr: a whole run takes many minutes."""
    for row in rows:
        found = f"{row.time.median:.2f} us" if row.time else f"not run: {row.not_run}"
        print(f"{row.layer.model} {row.layer.name} M={row.m} {row.contender}/{row.mode}: {found}", file=sys.stderr)
        yield row


def _conditions(rounds: int) -> run.Conditions:
    cache_bytes = torch.cuda.get_device_properties(0).L2_cache_size
    stamp = report.Stamp(datetime.now(UTC).isoformat(timespec="seconds"), **peaks.versions())
    return run.Conditions(rounds, cache_bytes, peaks.measure(cache_bytes, rounds), stamp)


def _write_table(layers: list[shapes.Layer], conditions: run.Conditions) -> None:
    """Tune every layer and write the winners beside the package."""
    stamp = conditions.stamp
    found = [
        tune.winner(layer.n, layer.k, m, conditions.rounds, conditions.cache_bytes)
        for layer in layers
        for m in tune.BUCKETS
    ]
    winners = tuple(winner for winner in found if winner is not None)
    versions = {"torch": stamp.torch, "triton": stamp.triton, "driver": stamp.driver}
    table = dispatch.Table(stamp.device, versions, stamp.measured_at, winners)
    name = stamp.device.lower().replace(" ", "-")
    (dispatch.CONFIGS / f"{name}.json").write_text(dispatch.render_table(table))


def _rounds(text: str) -> int:
    if (rounds := int(text)) < 5:
        raise argparse.ArgumentTypeError("a median and its spread need at least 5 rounds")
    return rounds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure the ternary kernels on this GPU."
    )
    parser.add_argument("--out", type=Path, default=Path("bench/results"), help="folder for rows.csv and table.md")
    parser.add_argument(
        "--model", action="append", default=[], choices=sorted({row.model for row in shapes.LAYERS})
    )
    parser.add_argument("--m", action="append", type=int, default=[], help="tokens; may be given several times")
    parser.add_argument("--rounds", type=_rounds, default=30, help="rounds over all contenders per layer and M")
    parser.add_argument("--write-table", action="store_true", help="tune, and write the winners to configs/")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

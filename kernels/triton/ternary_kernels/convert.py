"""Convert a checkpoint of ternary weights to Tern's plane format: python -m ternary_kernels.convert SRC DST

SRC is a folder as Transformers writes it (config.json, safetensors). Its `quantization_config` says what it
stores; a checkpoint without one holds exactly ternary weights (--layout unpacked, one scale per row or, with
--group-size 128, per 128 columns) or masters to be quantized as BitNet's training does (--layout master).

DST gets, for each ternary linear layer, `<layer>.weight` uint8 [N, packed_width(K)] and `<layer>.weight_scale`
float32 (multiplicative; [1], [N] or [N, ceil(K / 128)]); every other tensor and file unchanged; and a
`quantization_config` of method `ternary`. Shard by shard, tensor by tensor; DST appears by one rename at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from ternary_kernels.checkpoint import CheckpointFormat, Layout, format_of
from ternary_kernels.packing import BLOCK, PLANES, PackingError, pack, packed_width
from ternary_kernels.scales import groups_of
from ternary_kernels.shards import INDEX, Entry, listing, read_json, tensors, write_index, write_shard

WEIGHT_FILES = frozenset({".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack"})
SCALE = ".weight_scale"
WEIGHT = ".weight"


@dataclass(frozen=True)
class Recipe:
    """How a source is read: its format, and the layers that stay as they are."""

    format: CheckpointFormat
    kept_modules: tuple[str, ...]

    def is_ternary(self, entry: Entry) -> bool:
        """Whether a tensor is the weight of a ternary linear layer: packed bytes, or a `*_proj` matrix."""
        layer = entry.name.removesuffix(WEIGHT)
        if layer == entry.name or len(entry.shape) != 2 or self._is_kept(layer):
            return False
        if self.format.layout in (Layout.HF, Layout.PLANES):
            return entry.dtype == "U8"
        return layer.endswith("_proj")

    def announce(self, entry: Entry) -> list[Entry]:
        """What a source tensor becomes, known from its header."""
        if not self.is_ternary(entry):
            scale = self.format.layout is Layout.HF and entry.name.endswith(SCALE)
            return [Entry(entry.name, "F32", entry.shape) if scale else entry]
        rows, columns = self._shape(entry)
        weight = Entry(entry.name, "U8", (rows, packed_width(columns)))
        if self.format.layout is Layout.HF:
            return [weight]
        return [weight, Entry(_scale_name(entry.name), "F32", self._scale_shape(rows, columns))]

    def convert(self, entry: Entry, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
        """The tensors that `announce` promised, in its order."""
        if not self.is_ternary(entry):
            scale = self.format.layout is Layout.HF and entry.name.endswith(SCALE)
            yield entry.name, self.format.scale(tensor, entry.name) if scale else tensor
            return
        rows, columns = self._shape(entry)
        decoded = self.format.decode(tensor, rows, columns, entry.name)
        yield entry.name, pack(decoded.weights, entry.name)
        if decoded.scale is not None:
            yield _scale_name(entry.name), decoded.scale.reshape(self._scale_shape(rows, columns))

    def _shape(self, entry: Entry) -> tuple[int, int]:
        """(N, K) of a ternary weight."""
        first, second = entry.shape
        return (first * PLANES, second) if self.format.layout is Layout.HF else (first, second)

    def _scale_shape(self, rows: int, columns: int) -> tuple[int, ...]:
        if self.format.layout is Layout.MASTER:
            return (1,)
        return (rows, groups_of(columns)) if self.format.grouped else (rows,)

    def _is_kept(self, layer: str) -> bool:
        return any(part in self.kept_modules for part in (layer, *layer.split(".")))


def convert(source: Path, target: Path, layout: str | None = None, group_size: int | None = None) -> None:
    """Convert the checkpoint `source` into the new folder `target`.

    Raises PackingError for what is refused and OSError for a disk that fails; neither leaves a `target`.
    """
    config = _read_config(source)
    recipe = _recipe(config, layout, group_size)
    _require_new(source, target)
    listed = listing(source)
    _require_scales(source, recipe, {entry.name: entry for found in listed.values() for entry in found})
    placed = {path.name: [new for old in found for new in recipe.announce(old)] for path, found in listed.items()}
    partial = target.with_name(f"{target.name}.partial-{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        _copy_rest(source, partial)
        (partial / "config.json").write_text(json.dumps(_new_config(config, recipe), indent=2) + "\n")
        with _progress() as progress:
            task = progress.add_task(source.name, total=sum(path.stat().st_size for path in listed))
            for path in listed:
                contents = _converted(path, recipe, lambda size: progress.advance(task, size))
                write_shard(partial / path.name, placed[path.name], contents)
        if (source / INDEX).exists():
            write_index(partial, placed)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _converted(path: Path, recipe: Recipe, advance: Any) -> Iterator[tuple[str, Tensor]]:
    for entry, tensor in tensors(path):
        yield from recipe.convert(entry, tensor)
        advance(entry.size_bytes)


def _read_config(source: Path) -> dict[str, Any]:
    path = source / "config.json"
    if not path.exists():
        raise PackingError(f"{source}: holds no config.json")
    return read_json(path)


def _require_new(source: Path, target: Path) -> None:
    if os.path.lexists(target):
        raise PackingError(f"{target}: exists already")
    if target.resolve().is_relative_to(source.resolve()):
        raise PackingError(f"{target}: lies inside {source}, which stays as it is")


def _recipe(config: Mapping[str, Any], layout: str | None, group_size: int | None) -> Recipe:
    stated = config.get("quantization_config")
    if stated is not None and (layout is not None or group_size is not None):
        raise PackingError(
            "config.json: has a quantization_config, which --layout and --group-size could contradict"
        )
    if stated is None:
        stated = {"quant_method": "ternary", "layout": layout or Layout.UNPACKED, "group_size": group_size}
    elif stated.get("quant_method") not in ("bitnet", "ternary"):
        raise PackingError(
            f"config.json: quant_method {stated.get('quant_method')!r} is neither bitnet nor ternary"
        )
    found = format_of(stated)
    if found.layout is Layout.PLANES:
        raise PackingError("config.json: the checkpoint is in the plane format already")
    return Recipe(found, tuple(stated.get("modules_to_not_convert") or ()))


def _new_config(config: Mapping[str, Any], recipe: Recipe) -> dict[str, Any]:
    quantization: dict[str, Any] = {"quant_method": "ternary", "bits": 2, "layout": Layout.PLANES.value}
    if recipe.format.grouped:
        quantization["group_size"] = BLOCK
    quantization["modules_to_not_convert"] = list(recipe.kept_modules)
    return {**config, "quantization_config": quantization}


def _copy_rest(source: Path, target: Path) -> None:
    """Tokenizer, generation defaults and whatever else is not weights."""
    for path in sorted(source.iterdir()):
        if path.is_file() and path.suffix not in WEIGHT_FILES and path.name not in ("config.json", INDEX):
            shutil.copy2(path, target / path.name)


def _require_scales(source: Path, recipe: Recipe, held: Mapping[str, Entry]) -> None:
    """Every ternary weight has a scale that fits it, and every stored scale a ternary weight."""
    weights = {name: entry for name, entry in held.items() if recipe.is_ternary(entry)}
    scales = {name: entry for name, entry in held.items() if name.endswith(SCALE)}
    for name, scale in scales.items():
        _require_weight(name.removesuffix(SCALE) + WEIGHT, scale, recipe, held)
    if not weights:
        raise PackingError(f"{source}: no tensor is the weight of a ternary linear layer")
    for name in weights:
        if recipe.format.layout is Layout.HF and _scale_name(name) not in scales:
            raise PackingError(f"{_scale_name(name)}: missing, so {name} has no scale")


def _require_weight(name: str, scale: Entry, recipe: Recipe, held: Mapping[str, Entry]) -> None:
    """`name` is the ternary weight that a stored `scale` belongs to."""
    weight = held.get(name)
    if recipe.format.layout is not Layout.HF:
        kind = recipe.format.layout
        raise PackingError(f"{scale.name}: stored, yet {kind} weights carry their scale themselves")
    if weight is None or not recipe.is_ternary(weight):
        found = f"{weight.dtype} {weight.shape}" if weight else "missing"
        raise PackingError(f"{name}: has a weight_scale, but is not packed uint8 [N/4, K]: {found}")
    rows = weight.shape[0] * PLANES
    if prod(scale.shape) != 1 and scale.shape != (rows,):
        raise PackingError(f"{scale.name}: expected 1 or {rows} scales, got the shape {scale.shape}")


def _scale_name(weight_name: str) -> str:
    return weight_name.removesuffix(WEIGHT) + SCALE


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ternary_kernels.convert", description="Convert ternary weights to Tern's plane format."
    )
    parser.add_argument("source", type=Path, metavar="SRC")
    parser.add_argument("target", type=Path, metavar="DST")
    parser.add_argument("--layout", choices=("unpacked", "master"), help="for a SRC without a quantization_config")
    parser.add_argument(
        "--group-size", type=int, choices=(BLOCK,), help="one scale per 128 columns (unpacked only)"
    )
    options = parser.parse_args(arguments)
    try:
        with torch.inference_mode():
            convert(options.source, options.target, options.layout, options.group_size)
    except PackingError as refusal:
        print(refusal, file=sys.stderr)
        return 1
    except OSError as fault:
        print(f"{options.target}: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    # Asked to stop, it leaves like any other failure: the partial folder goes first.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    sys.exit(main(sys.argv[1:]))

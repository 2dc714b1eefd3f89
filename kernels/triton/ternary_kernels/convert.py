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
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from ternary_kernels.checkpoint import CheckpointFormat, Layout, format_of
from ternary_kernels.packing import BLOCK, PLANES, PackingError, pack, packed_width
from ternary_kernels.scales import groups_of
from ternary_kernels.shards import INDEX, Entry, entries, shard_paths, tensors, write_index, write_shard

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
    """Convert the checkpoint `source` into the new folder `target`. Raises PackingError, leaving no `target`."""
    config = _read_config(source)
    recipe = _recipe(config, layout, group_size)
    paths = shard_paths(source)
    placed = {path.name: [new for old in entries(path) for new in recipe.announce(old)] for path in paths}
    _require_scales(source, placed)
    if target.exists():
        raise PackingError(f"{target}: exists already")
    partial = target.with_name(f"{target.name}.partial-{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        _copy_rest(source, partial)
        (partial / "config.json").write_text(json.dumps(_new_config(config, recipe), indent=2) + "\n")
        with _progress() as progress:
            task = progress.add_task(source.name, total=sum(path.stat().st_size for path in paths))
            for path in paths:
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
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def _recipe(config: Mapping[str, Any], layout: str | None, group_size: int | None) -> Recipe:
    stated = config.get("quantization_config")
    if stated is not None and layout is not None:
        raise PackingError("config.json: has a quantization_config, which --layout would contradict")
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


def _require_scales(source: Path, placed: Mapping[str, list[Entry]]) -> None:
    listed = [entry for entries_of_file in placed.values() for entry in entries_of_file]
    names = {entry.name for entry in listed}
    packed = [entry.name for entry in listed if entry.dtype == "U8" and entry.name.endswith(WEIGHT)]
    if not packed:
        raise PackingError(f"{source}: no tensor is the weight of a ternary linear layer")
    for name in packed:
        if _scale_name(name) not in names:
            raise PackingError(f"{_scale_name(name)}: missing, so {name} has no scale")


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
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

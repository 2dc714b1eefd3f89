"""safetensors files read and written tensor by tensor: converting a checkpoint needs the memory of one tensor.

A file is an 8-byte little-endian header length, the header (JSON: name -> dtype, shape, byte range), then the
bytes of the tensors. Shapes are known before the first tensor is converted, so the header goes first and nothing
is kept.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ternary_kernels.packing import PackingError

INDEX = "model.safetensors.index.json"
SIZES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """A tensor of a file: name, safetensors dtype, shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        return SIZES[self.dtype] * prod(self.shape)


def listing(folder: Path) -> dict[Path, list[Entry]]:
    """The safetensors files of a checkpoint and what each holds, from the headers alone.

    Refuses a folder without any file, a missing or damaged one, a tensor that is stored twice, and an index that
    says otherwise than the files.
    """
    weight_map = _weight_map(folder / INDEX)
    names = sorted(path.name for path in folder.glob("*.safetensors"))
    listed = {folder / name: entries(folder / name) for name in sorted(set(weight_map.values())) or names}
    if not listed:
        raise PackingError(f"{folder}: holds no safetensors file")
    places = Counter(entry.name for found in listed.values() for entry in found)
    for name, times in places.items():
        if times > 1:
            raise PackingError(f"{name}: stored in {times} files")
    held = {path.name: {entry.name for entry in found} for path, found in listed.items()}
    for name, file in weight_map.items():
        if name not in held[file]:
            raise PackingError(f"{name}: {INDEX} places it in {file}, which does not hold it")
    return listed


def _weight_map(index: Path) -> dict[str, str]:
    """Tensor name -> name of a file in the same folder; empty without an index."""
    if not index.exists():
        return {}
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise PackingError(f"{index}: holds no weight_map")
    for file in weight_map.values():
        if not isinstance(file, str) or Path(file).name != file:
            raise PackingError(f"{index}: {file!r} is not the name of a file beside it")
        if not (index.parent / file).exists():
            raise PackingError(f"{index.parent / file}: named in {INDEX}, but missing")
    return weight_map


def read_json(path: Path) -> dict[str, Any]:
    """A file that holds one JSON object."""
    try:
        loaded = json.loads(path.read_text())
    except ValueError as fault:
        raise PackingError(f"{path}: is not JSON ({fault})") from fault
    if not isinstance(loaded, dict):
        raise PackingError(f"{path}: is not a JSON object")
    return loaded


def entries(path: Path) -> list[Entry]:
    """What a file holds, from its header alone."""
    try:
        with safe_open(path, framework="pt") as file:
            found = ((name, file.get_slice(name)) for name in file.keys())  # noqa: SIM118  (not a mapping)
            listed = [Entry(name, part.get_dtype(), tuple(part.get_shape())) for name, part in found]
    except SafetensorError as fault:
        raise PackingError(f"{path}: is damaged or cut short ({fault})") from fault
    for entry in listed:
        if entry.dtype not in SIZES:
            raise PackingError(f"{entry.name}: the dtype {entry.dtype} is not known here")
    return listed


def tensors(path: Path) -> Iterator[tuple[Entry, Tensor]]:
    """The tensors of a file, one at a time."""
    listed = entries(path)
    with safe_open(path, framework="pt") as file:
        for entry in listed:
            yield entry, file.get_tensor(entry.name)


def write_shard(path: Path, listed: list[Entry], contents: Iterator[tuple[str, Tensor]]) -> None:
    """Write `contents` under the header that `listed` announces, in the same order; refuses any difference."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for entry in listed:
        ends = [offset, offset + entry.size_bytes]
        header[entry.name] = {"dtype": entry.dtype, "shape": list(entry.shape), "data_offsets": ends}
        offset = ends[1]
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for entry, (name, tensor) in zip(listed, contents, strict=True):
            content = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data
            if name != entry.name or tuple(tensor.shape) != entry.shape or content.nbytes != entry.size_bytes:
                raise PackingError(
                    f"{name}: became {tuple(tensor.shape)}, announced as {entry.name} {entry.shape}"
                )
            file.write(content)
        file.flush()
        os.fsync(file.fileno())  # the folder is renamed into place next: never before its contents are on disk


def write_index(folder: Path, placed: dict[str, list[Entry]]) -> None:
    """The index of a checkpoint of several shards: `placed` is file name -> its entries."""
    weight_map = {entry.name: name for name, listed in sorted(placed.items()) for entry in listed}
    total = sum(entry.size_bytes for listed in placed.values() for entry in listed)
    body = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / INDEX).write_text(json.dumps(body, indent=1) + "\n")

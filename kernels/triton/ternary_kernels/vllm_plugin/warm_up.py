"""Compiles, while the model loads, every kernel that a request may need: nothing is compiled while one waits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch

from ternary_kernels import ops
from ternary_kernels.dispatch import GEMV_MAX_M, Device, Table, choose, shipped_tables
from ternary_kernels.packing import ZERO_BYTE, packed_width


def first_uses(rows: int, columns: int, most_tokens: int, device: Device, tables: tuple[Table, ...]) -> list[int]:
    """The numbers of tokens, up to `most_tokens`, at which a plan is chosen for the first time."""
    uses: dict[str, int] = {}
    for tokens in range(1, most_tokens + 1):
        plan = choose(tokens, rows, columns, device, tables)
        compiled_in = tokens if tokens <= GEMV_MAX_M else 0  # so few tokens are compiled into the kernel
        uses.setdefault(f"{plan} {compiled_in}", tokens)
    return list(uses.values())


@dataclass(frozen=True)
class Layer:
    """What decides which kernels a layer needs. Plans depend on shapes alone: layers of one shape share them.

    `scales` is the shape of its scales, (N,) or (N, ceil(K / 128)); `sums` says that it asks for raw sums.
    """

    scales: tuple[int, ...]
    columns: int
    dtype: torch.dtype
    sums: bool


@cache
def warm_up(layer: Layer, most_tokens: int, device: torch.device) -> None:
    """Runs a layer of zeros once per plan, on a CUDA device; once per kind of layer and process."""
    from ternary_kernels.launch import device_of  # needs Triton

    rows, columns = layer.scales[0], layer.columns
    packed = torch.full((rows, packed_width(columns)), ZERO_BYTE, dtype=torch.uint8, device=device)
    scale = torch.zeros(layer.scales, dtype=torch.float32, device=device)
    for tokens in first_uses(rows, columns, most_tokens, device_of(packed), shipped_tables()):
        x = torch.zeros((tokens, columns), dtype=layer.dtype, device=device)
        if layer.sums:
            ops.accumulate(x, packed, columns)
        else:
            ops.linear(x, packed, scale, columns)

"""What a checkpoint stores for one ternary linear layer, and how that becomes ternary weights and float32
scales.

    layout    weight                                   weight_scale
    hf        uint8 [N/4, K], row blocks               one per tensor; multiplies or divides, by the configuration
    planes    uint8 [N, packed_width(K)]               float32, multiplies: [1], [N] or [N, ceil(K / 128)]
    unpacked  float [N, K], values -s, 0, +s           none: s is read off, per row or per group of 128
    master    float [N, K], what training optimises    none: s = mean |W|

A quantization_config names its layout: `bitnet` is hf, or master in its `online` mode; `ternary` is planes
unless its key `layout` says otherwise. A checkpoint without one, served with `--quantization ternary`, must
be exactly ternary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ternary_kernels.packing import BLOCK, PackingError, padded_k, unpack, unpack_hf
from ternary_kernels.scales import ScaleConvention, convention_of, multiplicative


class Layout(StrEnum):
    HF = "hf"
    PLANES = "planes"
    UNPACKED = "unpacked"
    MASTER = "master"


class Decoded(NamedTuple):
    """Ternary weights int8 [N, K]; the multiplicative scale where it comes from the same tensor, else
    None."""

    weights: Tensor
    scale: Tensor | None


@dataclass(frozen=True)
class CheckpointFormat:
    layout: Layout
    convention: ScaleConvention = ScaleConvention.MULTIPLY
    grouped: bool = False

    def decode(self, stored: Tensor, rows: int, columns: int, name: str) -> Decoded:
        """One whole checkpoint tensor -> ternary weights [rows, columns]. Refuses another shape or kind of
        weight."""
        match self.layout:
            case Layout.HF:
                decoded = Decoded(unpack_hf(stored, name), None)
            case Layout.PLANES:
                decoded = Decoded(unpack(stored, columns, name=name), None)
            case Layout.UNPACKED:
                decoded = read_off(_finite(stored, name), self.grouped, name)
            case Layout.MASTER:
                decoded = absmean(_finite(stored, name))
        found, expected = tuple(decoded.weights.shape), (rows, columns)
        if found != expected:
            raise PackingError(f"{name}: the checkpoint holds {found} weights, the model has {expected}")
        return decoded

    def scale(self, stored: Tensor, name: str) -> Tensor:
        """A stored `weight_scale` -> float32, multiplicative."""
        if self.layout in (Layout.UNPACKED, Layout.MASTER):
            raise PackingError(
                f"{name}: unpacked weights carry their scale themselves, yet a weight_scale is stored"
            )
        value = multiplicative(stored, self.convention, name)
        if self.layout is Layout.HF and bool((value == 0).any()):
            raise PackingError(f"{name}: a scale is zero, which no mean of |W| is")
        return value


def format_of(config: Mapping[str, Any]) -> CheckpointFormat:
    """The format that a `quantization_config` names; refuses what would have to be guessed."""
    if config.get("use_rms_norm"):
        raise PackingError(
            "quantization_config: use_rms_norm (a norm of its own per linear layer) is not supported"
        )
    if config.get("quant_method") == "ternary":
        return _own_format(config)
    if config.get("quantization_mode") == "online":
        return CheckpointFormat(Layout.MASTER)
    return CheckpointFormat(Layout.HF, convention_of(config))


def _own_format(config: Mapping[str, Any]) -> CheckpointFormat:
    group_size, layout = config.get("group_size"), config.get("layout", Layout.PLANES)
    if group_size not in (None, BLOCK):
        raise PackingError(f"quantization_config: group_size {group_size!r}, only {BLOCK} or none is supported")
    if layout not in (Layout.PLANES, Layout.UNPACKED, Layout.MASTER):
        raise PackingError(f"quantization_config: layout {layout!r} is none of planes, unpacked, master")
    if group_size is not None and layout == Layout.MASTER:
        raise PackingError("quantization_config: masters get one scale per tensor, so group_size contradicts them")
    return CheckpointFormat(Layout(layout), grouped=group_size is not None)


def absmean(master: Tensor) -> Decoded:
    """Float32 masters [N, K] -> ternary, as BitNet's training does it: s = mean |W|, w = clip(rint(W / s),
    -1, 1)."""
    inverse = 1.0 / master.abs().mean().clamp(min=1e-5)
    return Decoded((master * inverse).round().clamp(-1, 1).to(torch.int8), 1.0 / inverse)


def read_off(values: Tensor, grouped: bool, name: str) -> Decoded:
    """Float32 [N, K] holding exactly -s, 0, +s per row (or per row and group of 128) -> ternary and s."""
    rows, columns = values.shape
    width = BLOCK if grouped else columns
    padded = torch.nn.functional.pad(values, (0, padded_k(columns) - columns if grouped else 0))
    groups = padded.view(rows, -1, width)
    peak = groups.abs().amax(dim=-1)
    if not bool(((groups.abs() == peak[..., None]) | (groups == 0)).all()):
        raise PackingError(
            f"{name}: the weights are not ternary (one magnitude {'per 128 columns' if grouped else 'per row'}); "
            "if they are masters of a BitNet model, say so in the quantization_config: layout master"
        )
    return Decoded(values.sign().to(torch.int8), peak if grouped else peak[:, 0])


def _finite(stored: Tensor, name: str) -> Tensor:
    if not stored.is_floating_point() or stored.dim() != 2 or 0 in stored.shape:
        raise PackingError(
            f"{name}: expected a floating-point matrix that is not empty, got {stored.dtype} {tuple(stored.shape)}"
        )
    values = stored.to(torch.float32)
    if not bool(torch.isfinite(values).all()):
        raise PackingError(f"{name}: a weight is NaN or infinite")
    return values

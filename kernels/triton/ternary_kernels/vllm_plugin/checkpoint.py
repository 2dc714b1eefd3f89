"""What a checkpoint stores for one ternary linear layer, and how that becomes ternary weights and float32 scales.

    layout   weight                          weight_scale
    hf       uint8 [N/4, K], row blocks      one per tensor; multiplies or divides, by the configuration
    planes   uint8 [N, packed_width(K)]      float32, multiplies: [1], [N] or [N, ceil(K / 128)] (ternary_kernels.convert)
    master   float [N, K]                    none: derived from the weights at load
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ternary_kernels.packing import PackingError, unpack, unpack_hf
from ternary_kernels.scales import ScaleConvention, convention_of, multiplicative


class Layout(StrEnum):
    HF = "hf"
    PLANES = "planes"
    MASTER = "master"


class Decoded(NamedTuple):
    """Ternary weights int8 [N, K]; the multiplicative scale where it comes from the same tensor, else None."""

    weights: Tensor
    scale: Tensor | None


@dataclass(frozen=True)
class CheckpointFormat:
    layout: Layout
    convention: ScaleConvention = ScaleConvention.MULTIPLY
    grouped: bool = False

    def decode(self, stored: Tensor, rows: int, columns: int, name: str) -> Decoded:
        """One whole checkpoint tensor -> ternary weights [rows, columns]. Refuses another shape or kind of weight."""
        match self.layout:
            case Layout.HF:
                decoded = Decoded(unpack_hf(stored, name), None)
            case Layout.PLANES:
                decoded = Decoded(unpack(stored, columns, name=name), None)
            case Layout.MASTER:
                decoded = absmean(stored, name)
        if tuple(decoded.weights.shape) != (rows, columns):
            raise PackingError(
                f"{name}: the checkpoint holds {tuple(decoded.weights.shape)} weights, the model has {(rows, columns)}"
            )
        return decoded

    def scale(self, stored: Tensor, name: str) -> Tensor:
        """A stored `weight_scale` -> float32, multiplicative."""
        if self.layout is Layout.MASTER:
            raise PackingError(f"{name}: a checkpoint of master weights must not hold a weight_scale")
        return multiplicative(stored, self.convention, name)


def format_of(config: Mapping[str, Any]) -> CheckpointFormat:
    """The format that a `quantization_config` names; refuses what would have to be guessed."""
    if config.get("use_rms_norm"):
        raise PackingError("quantization_config: use_rms_norm (a norm of its own per linear layer) is not supported")
    if config.get("quant_method") == "ternary":
        return CheckpointFormat(Layout.PLANES, grouped=bool(config.get("group_size")))
    if config.get("quantization_mode") == "online":
        return CheckpointFormat(Layout.MASTER)
    return CheckpointFormat(Layout.HF, convention_of(config))


def absmean(master: Tensor, name: str) -> Decoded:
    """Master weights [N, K] -> ternary, as BitNet's training does it: s = mean |W|, w = clip(rint(W / s), -1, 1)."""
    if not master.is_floating_point():
        raise PackingError(f"{name}: master weights are floating point, got {master.dtype}")
    values = master.to(torch.float32)
    if not bool(torch.isfinite(values).all()):
        raise PackingError(f"{name}: a master weight is NaN or infinite")
    inverse = 1.0 / values.abs().mean().clamp(min=1e-5)
    return Decoded((values * inverse).round().clamp(-1, 1).to(torch.int8), 1.0 / inverse)

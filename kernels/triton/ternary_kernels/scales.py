"""Weight scales: from a checkpoint's convention to multiplicative float32, per tensor, per row or per group of
128.

Two families of BitNet checkpoints disagree about `weight_scale`: the 2B-4T family (linear class `autobitlinear`)
*multiplies* the accumulator by it, Falcon-E and its relatives (`bitlinear`) *divide*. The convention is a fact
of the checkpoint's configuration and is never guessed from the value.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import torch
from torch import Tensor

from ternary_kernels.packing import BLOCK, PackingError


class ScaleConvention(StrEnum):
    """What the original implementation does with the stored `weight_scale`."""

    MULTIPLY = "multiply"
    DIVIDE = "divide"


def convention_of(quantization_config: Mapping[str, object]) -> ScaleConvention:
    """The scale convention of a Hugging Face `bitnet` quantization config; refuses what it cannot know.

    `linear_class` defaults to `bitlinear` there (Transformers' own default), and `bitlinear` stores 1 / mean|W|.
    `autobitlinear` multiplies, but only in `offline` mode: its `online` mode stores master weights and no scale.
    """
    linear_class = quantization_config.get("linear_class", "bitlinear")
    mode = quantization_config.get("quantization_mode", "offline")
    if mode != "offline":
        raise PackingError(
            f"quantization_config: quantization_mode {mode!r} stores master weights, not packed ones with a scale"
        )
    match linear_class:
        case "autobitlinear":
            return ScaleConvention.MULTIPLY
        case "bitlinear":
            return ScaleConvention.DIVIDE
        case _:
            raise PackingError(
                f"quantization_config: linear_class {linear_class!r} is neither 'autobitlinear' nor 'bitlinear', "
                "so it is unknown whether weight_scale multiplies or divides"
            )


def multiplicative(scale: Tensor, convention: ScaleConvention, name: str = "weight_scale") -> Tensor:
    """A stored scale of any shape -> float32 of the same shape, to be multiplied with.

    Refuses integers, NaN, infinity, a negative scale, and one whose reciprocal is needed and not finite. The
    reciprocal is taken in float32: exact for powers of two, else one rounding.
    """
    if not scale.is_floating_point():
        raise PackingError(f"{name}: a scale is a floating-point number, got {scale.dtype}")
    value = scale.to(torch.float32)
    if not bool(torch.isfinite(value).all()):
        raise PackingError(f"{name}: a scale is NaN or infinite")
    if bool((value < 0).any()):
        raise PackingError(f"{name}: a scale is negative, which no magnitude of weights is")
    if convention is ScaleConvention.MULTIPLY:
        return value.clone()
    reciprocal = 1.0 / value
    if not bool(torch.isfinite(reciprocal).all()):
        raise PackingError(f"{name}: a scale that is or nears zero cannot be divided by")
    return reciprocal


def per_row(scale: Tensor, rows: int, groups: int, name: str = "weight_scale") -> Tensor:
    """The scale that a kernel may read: float32 [rows] or [rows, groups], contiguous. Refuses any other."""
    if scale.dtype != torch.float32 or tuple(scale.shape) not in ((rows,), (rows, groups)):
        raise PackingError(
            f"{name}: expected float32 ({rows},) or ({rows}, {groups}), got {scale.dtype} {tuple(scale.shape)}"
        )
    return scale.contiguous()


def groups_of(k: int) -> int:
    """Scale groups per row for K weights."""
    return -(-k // BLOCK)

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
    """A stored scale of any shape -> float32 of the same shape, to be multiplied with. Refuses NaN, infinity,
    zero.

    The reciprocal is taken in float32: exact for powers of two, else one rounding.
    """
    value = scale.to(torch.float32)
    if not bool(torch.isfinite(value).all()):
        raise PackingError(f"{name}: a scale is NaN or infinite")
    if convention is ScaleConvention.MULTIPLY:
        return value.clone()
    if bool((value == 0).any()):
        raise PackingError(f"{name}: a scale of zero cannot be divided by")
    return 1.0 / value


def expand_rows(scale: Tensor, rows: list[int], name: str = "weight_scale") -> Tensor:
    """One multiplicative float32 scale per output row from one per logical shard (q, k, v; gate, up).

    `scale` has one element per entry of `rows` (the rows of each shard), or one per output row already.
    Returns float32 [sum(rows)], contiguous, never a view of the argument.
    """
    flat = scale.to(torch.float32).reshape(-1)
    if not bool(torch.isfinite(flat).all()):
        raise PackingError(f"{name}: a scale is NaN or infinite")
    if flat.numel() == sum(rows):
        return flat.clone()
    if flat.numel() != len(rows):
        raise PackingError(f"{name}: {flat.numel()} scales for {len(rows)} shards of {sum(rows)} rows")
    return flat.repeat_interleave(torch.tensor(rows, device=flat.device))


def groups_of(k: int) -> int:
    """Scale groups per row for K weights."""
    return -(-k // BLOCK)

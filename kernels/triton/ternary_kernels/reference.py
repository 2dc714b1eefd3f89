"""The golden definition of a ternary linear layer. Never optimised: every kernel is compared with it, bit for bit.

Per token (row m of x), in float32, in this order:

    c[m]     = max(max_k |x[m,k]|, 1e-5)
    r[m]     = (1 / c[m]) * 127                                  rounded twice, as torch computes 127 / tensor
    q[m,k]   = clip(rint(x[m,k] * r[m]), -128, 127)              rint rounds half to even
    t[m]     = c[m] / 127                                        the token scale
    acc[m,n] = sum_k q[m,k] * w[n,k]                             integer, exact
    y[m,n]   = round_to_dtype((float32(acc[m,n]) * t[m]) * s[n]) two multiplications, left to right
    y[m,n]  += bias[n]                                           after rounding, in the output's dtype

This is the arithmetic of Transformers' `ActQuant` for q and of BitNet's W1.58A8 for the rest. |acc| <= 128 K, so
float32 holds every accumulator exactly for K <= 131072.

A row with a NaN or an infinity has codes 0 and the token scale NaN: its whole output is NaN, never a plausible
number.

One scale per group of 128 along K, A8: y = round_to_dtype(t[m] * sum_g (float32(acc[m,n,g]) * s[n,g])), the sum
taken left to right in float32, product and sum rounded apart (no fused multiply-add).

Weight only (A16): y = round_to_dtype(sum_g s[n,g] * sum_{k in g} x[m,k] w[n,k]) in float32, to a tolerance.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ternary_kernels.packing import BLOCK

MIN_ABSMAX = 1e-5
EXACT_K = 131_072  # 128 * K <= 2**24


class Quantized(NamedTuple):
    """Activations as int8: codes [M, K], token_scale float32 [M], row_sum int32 [M] (the sum of the codes)."""

    codes: Tensor
    token_scale: Tensor
    row_sum: Tensor


def absmax(x: Tensor) -> Tensor:
    """max |x| per row of [M, K], float32 [M]; 0 for K = 0. NaN propagates."""
    return x.to(torch.float32).abs().amax(dim=-1)


def quantize(x: Tensor, row_absmax: Tensor | None = None) -> Quantized:
    """x [M, K] of any float dtype -> int8 codes and their scales.

    `row_absmax` [M] replaces the row's own maximum: under row-parallel sharding it is the maximum over all
    shards, so that every shard quantizes alike.
    """
    values = x.to(torch.float32)
    peak = absmax(x) if row_absmax is None else row_absmax.to(torch.float32)
    finite = torch.isfinite(peak)
    clamped = torch.where(finite, peak, torch.ones_like(peak)).clamp(min=MIN_ABSMAX)
    # Tensor by tensor: torch divides by a Python number through its reciprocal on some devices.
    scaled = values * ((torch.ones_like(clamped) / clamped) * 127.0)[:, None]
    codes = torch.where(finite[:, None], scaled.round(), torch.zeros_like(scaled)).clamp(-128, 127).to(torch.int8)
    token_scale = torch.where(
        finite, clamped / torch.full_like(clamped, 127.0), torch.full_like(clamped, float("nan"))
    )
    return Quantized(codes, token_scale, codes.sum(dim=-1, dtype=torch.int32))


def accumulate(codes: Tensor, weights: Tensor) -> Tensor:
    """int8 codes [M, K] x ternary int8 weights [N, K] -> the exact sums, int32 [M, N], by way of int64."""
    return (codes.to(torch.int64) @ weights.to(torch.int64).T).to(torch.int32)


def finish(acc: Tensor, token_scale: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """int32 [M, N], token scale [M], row scale [N] -> y [M, N]: (acc * t) * s in float32, then rounded."""
    return (acc.to(torch.float32) * token_scale[:, None] * scale[None, :]).to(dtype)


def activate(
    x: Tensor, gate: str = "none", up: Tensor | None = None, norm_weight: Tensor | None = None, eps: float = 0.0
) -> Tensor:
    """What comes before quantization, each step rounded to x's dtype as the unfused layers do.

    gate "relu2": relu(x)**2 * up (BitNet); "silu": silu(x) * up (Llama); then, with norm_weight, RMS norm over K.
    """
    dtype = x.dtype
    h = x.to(torch.float32)
    match gate:
        case "none":
            pass
        case "relu2":
            h = h.relu().square().to(dtype).to(torch.float32)
        case "silu":
            h = (h / (1.0 + torch.exp(-h))).to(dtype).to(torch.float32)
        case _:
            raise ValueError(f"gate {gate!r} is none of 'none', 'relu2', 'silu'")
    if up is not None:
        h = (h * up.to(torch.float32)).to(dtype).to(torch.float32)
    if norm_weight is not None:
        h = h * torch.rsqrt(h.square().mean(dim=-1, keepdim=True) + eps)
        h = h.to(dtype).to(torch.float32) * norm_weight.to(torch.float32)
    return h.to(dtype)


def linear(x: Tensor, weights: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [..., K], ternary weights int8 [N, K], float32 scale [N] (or [1]) -> y [..., N] in x's dtype."""
    flat = x.reshape(-1, x.shape[-1])
    quantized = quantize(flat)
    acc = accumulate(quantized.codes, weights)
    y = finish(acc, quantized.token_scale, scale.expand(weights.shape[0]), x.dtype)
    if bias is not None:
        y = y + bias
    return y.reshape(*x.shape[:-1], weights.shape[0])


def grouped_sums(codes: Tensor, weights: Tensor, scale: Tensor) -> Tensor:
    """sum_g float32(acc_g) * s[n, g]: codes [M, K], weights [N, K], scale [N, G] -> float32 [M, N]."""
    total = torch.zeros((codes.shape[0], weights.shape[0]), dtype=torch.float32, device=codes.device)
    for group in range(scale.shape[1]):
        columns = slice(group * BLOCK, (group + 1) * BLOCK)
        total = (
            total + accumulate(codes[:, columns], weights[:, columns]).to(torch.float32) * scale[None, :, group]
        )
    return total


def grouped_linear(x: Tensor, weights: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    """A8 with one scale per 128 weights: scale float32 [N, ceil(K / 128)] -> y [..., N] in x's dtype."""
    flat = x.reshape(-1, x.shape[-1])
    quantized = quantize(flat)
    y = (grouped_sums(quantized.codes, weights, scale) * quantized.token_scale[:, None]).to(x.dtype)
    if bias is not None:
        y = y + bias
    return y.reshape(*x.shape[:-1], weights.shape[0])


def dequantize(weights: Tensor, scale: Tensor) -> Tensor:
    """The dense float32 twin: weights [N, K] times scale [1], [N] or [N, ceil(K / 128)]."""
    if scale.dim() == 2:
        return weights.to(torch.float32) * scale.repeat_interleave(BLOCK, dim=1)[:, : weights.shape[1]]
    return weights.to(torch.float32) * scale.reshape(-1, 1)


def weight_only_linear(x: Tensor, weights: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    """A16: x is not quantized. float64 inside, rounded once to x's dtype."""
    y = (x.to(torch.float64) @ dequantize(weights, scale).to(torch.float64).T).to(x.dtype)
    return y if bias is None else y + bias

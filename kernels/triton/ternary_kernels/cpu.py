"""The CPU path: the golden definition with a float32 matrix product.

Codes and ternary weights are integers, |sum| <= 128 K <= 2**24, so every partial sum of a float32 product is exact in
whatever order the BLAS adds: the result equals the int64 reference bit for bit, at BLAS speed. Unpack once at load and
keep the dense copy (4 bytes per weight), or unpack per call and keep the 2-bit weights only.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ternary_kernels.packing import BLOCK, PackingError, unpack
from ternary_kernels.reference import EXACT_K, finish, quantize


def dense(packed: Tensor, k: int, name: str = "weight") -> Tensor:
    """Packed weights -> the float32 [N, K] matrix of -1, 0, +1 that `linear` and `accumulate` take."""
    return unpack(packed, k, torch.float32, name)


def accumulate(x: Tensor, weights: Tensor, row_absmax: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """x [M, K], dense ternary weights [N, K] -> exact sums int32 [M, N] and token scales float32 [M]."""
    if weights.shape[1] > EXACT_K:
        raise PackingError(f"weight: K = {weights.shape[1]} exceeds {EXACT_K}, beyond which float32 sums are not exact")
    quantized = quantize(x, row_absmax)
    sums = F.linear(quantized.codes.to(torch.float32), weights)
    return sums.to(torch.int32), quantized.token_scale


def linear(x: Tensor, weights: Tensor, scale: Tensor, row_absmax: Tensor | None = None) -> Tensor:
    """x [M, K], dense ternary float32 weights [N, K], float32 scale [N] -> y [M, N] in x's dtype."""
    acc, token_scale = accumulate(x, weights, row_absmax)
    return finish(acc, token_scale, scale, x.dtype)


def grouped_linear(x: Tensor, weights: Tensor, scale: Tensor, row_absmax: Tensor | None = None) -> Tensor:
    """Scale per group of 128: scale float32 [N, ceil(K / 128)]; the groups are added left to right in float32."""
    quantized = quantize(x, row_absmax)
    codes = quantized.codes.to(torch.float32)
    total = torch.zeros((x.shape[0], weights.shape[0]), dtype=torch.float32)
    for group in range(scale.shape[1]):
        columns = slice(group * BLOCK, (group + 1) * BLOCK)
        total = total + F.linear(codes[:, columns], weights[:, columns]) * scale[None, :, group]
    return (total * quantized.token_scale[:, None]).to(x.dtype)

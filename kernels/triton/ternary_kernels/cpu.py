"""The CPU path: the golden definition with a float32 matrix product.

Codes and ternary weights are integers, |sum| <= 128 K <= 2**24, so every partial sum of a float32 product is
exact in whatever order the BLAS adds: the result equals the int64 reference bit for bit, at BLAS speed. Unpack
once at load and keep the dense copy (4 bytes per weight), or unpack per call and keep the 2-bit weights only.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear as product

from ternary_kernels.packing import BLOCK, PackingError, unpack
from ternary_kernels.reference import EXACT_K, Quantized, finish, quantize
from ternary_kernels.scales import groups_of, per_row


def dense(packed: Tensor, k: int, name: str = "weight") -> Tensor:
    """Packed weights -> the float32 [N, K] matrix of -1, 0, +1 that `linear` and `accumulate` take."""
    return unpack(packed, k, torch.float32, name)


def accumulate(x: Tensor, weights: Tensor, row_absmax: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """x [M, K], dense ternary weights [N, K] -> exact sums int32 [M, N] and token scales float32 [M]."""
    quantized = quantize(x, row_absmax)
    return _sums(quantized.codes, weights), quantized.token_scale


def linear(x: Tensor, weights: Tensor, scale: Tensor, row_absmax: Tensor | None = None) -> Tensor:
    """x [M, K], dense ternary float32 weights [N, K], float32 scale [N] or [N, ceil(K / 128)] -> y [M, N]."""
    return linear_quantized(quantize(x, row_absmax), weights, scale, x.dtype)


def linear_quantized(quantized: Quantized, weights: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """The same from int8 codes. Groups of 128 are added left to right in float32."""
    scale = per_row(scale, weights.shape[0], groups_of(weights.shape[1]))
    if scale.dim() == 1:
        return finish(_sums(quantized.codes, weights), quantized.token_scale, scale, dtype)
    codes = quantized.codes.to(torch.float32)
    total = torch.zeros((codes.shape[0], weights.shape[0]), dtype=torch.float32)
    for group in range(scale.shape[1]):
        columns = slice(group * BLOCK, (group + 1) * BLOCK)
        total = total + product(codes[:, columns], weights[:, columns]) * scale[None, :, group]
    return (total * quantized.token_scale[:, None]).to(dtype)


def _sums(codes: Tensor, weights: Tensor) -> Tensor:
    if weights.shape[1] > EXACT_K:
        raise PackingError(
            f"weight: K = {weights.shape[1]} exceeds {EXACT_K}, beyond which float32 sums are not exact"
        )
    return product(codes.to(torch.float32), weights).to(torch.int32)

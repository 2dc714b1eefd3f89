"""The 2-bit plane format: ternary weights [N, K] <-> uint8 [N, packed_width(K)].

K is cut into blocks of 128. Byte j (0..31) of block b of a row holds four weights, one per plane p = 0..3, at
bits 2p:

    k = 128 b + 32 p + j        code = w + 1  (-1, 0, +1 -> 0, 1, 2; 3 is invalid)

A block is 32 bytes, so a row starts 32-byte aligned, a scale group of 128 is one block, and a tensor-parallel
slice of rows, or of columns in multiples of 128, is a plain slice of the packed tensor. K that is not a
multiple of 128 is padded with zero weights (code 1; a block of zeros is 32 bytes of 0x55); activations are
padded with zeros, so padding adds nothing to any sum.

`to_planes` puts activations into the same order: [M, K] -> [M, 4, K'/4] with x[m, k] at [m, p, 32 b + j], K'
the padded K. A kernel then multiplies plane p of byte column i with activation [p, i] and never needs to know
what a block is.

No function here changes its arguments. Everything that is refused raises `PackingError` with a sentence that
names the tensor and the reason.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 128  # weights along K per block; also the only supported scale group
PLANES = 4
BLOCK_BYTES = BLOCK // PLANES
ZERO_BYTE = 0x55  # four zero weights
CODE_SLACK = 512  # readable bytes behind plane-ordered int8 activations, for kernels that read whole tiles


class PackingError(ValueError):
    """A tensor cannot be packed or unpacked; the message names the tensor and says why."""


def padded_k(k: int) -> int:
    """K rounded up to whole blocks of 128."""
    return -(-k // BLOCK) * BLOCK


def packed_width(k: int) -> int:
    """Bytes per packed row for K weights (a multiple of 32)."""
    return padded_k(k) // PLANES


def pack(weights: Tensor, name: str = "weight") -> Tensor:
    """Ternary weights [N, K] (any dtype, values exactly -1, 0, +1) -> uint8 [N, packed_width(K)]."""
    _require_matrix(weights, name)
    if not bool(((weights == -1) | (weights == 0) | (weights == 1)).all()):
        raise PackingError(f"{name}: a weight is none of -1, 0, +1")
    n, k = weights.shape
    codes = torch.ones((n, padded_k(k)), dtype=torch.uint8, device=weights.device)
    codes[:, :k] = (weights + 1).to(torch.uint8)
    planes = codes.view(n, -1, PLANES, BLOCK_BYTES)
    return _merge_planes(planes).reshape(n, packed_width(k))


def unpack(packed: Tensor, k: int, dtype: torch.dtype = torch.int8, name: str = "weight") -> Tensor:
    """uint8 [N, packed_width(K)] -> ternary weights [N, K] in `dtype`. Refuses code 3 and a wrong width."""
    _require_packed(packed, k, name)
    n = packed.shape[0]
    codes = _split_planes(packed.reshape(n, -1, BLOCK_BYTES), dim=2)
    if bool((codes == 3).any()):
        raise PackingError(f"{name}: the invalid code 3 occurs in the packed weights")
    return (codes.reshape(n, -1)[:, :k].to(torch.int8) - 1).to(dtype)


def slice_columns(packed: Tensor, k: int, start: int, stop: int, name: str = "weight") -> Tensor:
    """Columns start..stop of the packed weights, packed: a view at block boundaries, else unpacked and packed
    again.

    The result equals `pack(unpack(packed, k)[:, start:stop])`.
    """
    _require_packed(packed, k, name)
    if not 0 <= start < stop <= k:
        raise PackingError(f"{name}: columns {start}..{stop} lie outside 0..{k}")
    if start % BLOCK == 0 and (stop % BLOCK == 0 or stop == k):
        return packed[:, start // PLANES : packed_width(stop)]
    return pack(unpack(packed, k, name=name)[:, start:stop], name)


def to_planes(x: Tensor) -> Tensor:
    """Activations [M, K] -> [M, 4, packed_width(K)] in plane order, zero-padded; same dtype."""
    m, k = x.shape
    padded = torch.zeros((m, padded_k(k)), dtype=x.dtype, device=x.device)
    padded[:, :k] = x
    blocks = padded.view(m, -1, PLANES, BLOCK_BYTES)
    return blocks.transpose(1, 2).reshape(m, PLANES, packed_width(k))


def from_planes(planes: Tensor, k: int) -> Tensor:
    """The inverse of `to_planes`: [M, 4, packed_width(K)] -> [M, K]."""
    m = planes.shape[0]
    blocks = planes.reshape(m, PLANES, -1, BLOCK_BYTES).transpose(1, 2)
    return blocks.reshape(m, -1)[:, :k].contiguous()


def pack_hf(weights: Tensor, name: str = "weight") -> Tensor:
    """Ternary weights [N, K] -> Hugging Face's layout uint8 [N/4, K]: byte r holds rows r + i N/4 at bits 2i."""
    _require_matrix(weights, name)
    n, k = weights.shape
    if n % PLANES:
        raise PackingError(f"{name}: {n} rows are not a multiple of {PLANES}, which the Hugging Face layout needs")
    codes = (weights + 1).to(torch.uint8).view(PLANES, n // PLANES, k)
    return _merge_planes(codes.transpose(0, 1))


def unpack_hf(packed: Tensor, name: str = "weight") -> Tensor:
    """The Hugging Face BitNet layout uint8 [N/4, K] -> ternary weights int8 [N, K]. Refuses code 3.

    The rows of a byte are N/4 apart over the *whole* tensor: unpack before slicing for tensor parallelism.
    """
    _require_matrix(packed, name)
    _require_bytes(packed, name)
    codes = _split_planes(packed, dim=0)
    if bool((codes == 3).any()):
        raise PackingError(f"{name}: the invalid code 3 occurs in the packed weights")
    return codes.reshape(-1, packed.shape[1]).to(torch.int8) - 1


def _merge_planes(codes: Tensor) -> Tensor:
    """Codes [A, (B,) 4, C] with the plane axis next to last -> bytes [A, (B,) C]."""
    first, second, third, fourth = codes.unbind(-2)
    return first | (second << 2) | (third << 4) | (fourth << 6)


def _split_planes(packed: Tensor, dim: int) -> Tensor:
    """Bytes -> codes 0..3 with a new plane axis at `dim`."""
    return torch.stack([(packed >> (2 * plane)) & 3 for plane in range(PLANES)], dim=dim)


def _require_matrix(tensor: Tensor, name: str) -> None:
    if tensor.dim() != 2 or 0 in tensor.shape:
        raise PackingError(f"{name}: expected a matrix that is not empty, got the shape {tuple(tensor.shape)}")


def _require_bytes(packed: Tensor, name: str) -> None:
    if packed.dtype != torch.uint8:
        raise PackingError(f"{name}: packed weights are uint8, got {packed.dtype}")


def _require_packed(packed: Tensor, k: int, name: str) -> None:
    _require_matrix(packed, name)
    _require_bytes(packed, name)
    if packed.shape[1] != packed_width(k):
        raise PackingError(
            f"{name}: {packed.shape[1]} bytes per row do not hold {k} weights, which take {packed_width(k)}"
        )

"""What a kernel may read: it trusts every shape it is given, so what does not fit is refused before a launch."""

from __future__ import annotations

import torch
from torch import Tensor

from ternary_kernels.packing import BLOCK_BYTES, CODE_SLACK, PLANES, PackingError


def rows_and_groups(packed: Tensor) -> tuple[int, int]:
    """N and the scale groups per row of packed weights."""
    return packed.shape[0], packed.shape[1] // BLOCK_BYTES


def require_rows(packed: Tensor) -> None:
    if not packed.is_contiguous():
        raise PackingError(
            "weight: packed weights must be contiguous for the GPU kernels; call .contiguous() at load"
        )


def require_codes(codes: Tensor, token_scale: Tensor, width: int) -> None:
    """The codes are those of M rows for packed weights of `width` bytes, with the slack that whole tiles read."""
    m = token_scale.shape[0]
    if codes.numel() != m * PLANES * width + CODE_SLACK:
        raise PackingError(f"activation: {codes.numel()} codes are not {m} rows for weights of {width} bytes")


def resident_copy(resident: Tensor, packed: Tensor) -> Tensor:
    """The unpacked copy, if it is one of these weights by its shape."""
    n, width = packed.shape
    if resident.shape != (n, PLANES * width) or resident.dtype != torch.int8:
        raise PackingError(f"weight: a resident copy {tuple(resident.shape)} is not that of {n} x {width} bytes")
    return resident.contiguous()


def beside(
    x: Tensor, up: Tensor | None, norm_weight: Tensor | None, row_absmax: Tensor | None
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """What the activation kernel reads beside x [M, K]: up [M, K], norm_weight [K], row_absmax [M]."""
    m, k = x.shape
    expected = (("up", up, (m, k)), ("norm_weight", norm_weight, (k,)), ("row_absmax", row_absmax, (m,)))
    for name, given, shape in expected:
        if given is not None and tuple(given.shape) != shape:
            raise PackingError(f"{name}: expected the shape {shape}, got {tuple(given.shape)}")
    return (
        up,
        None if norm_weight is None else norm_weight.contiguous(),
        None if row_absmax is None else row_absmax.to(torch.float32).contiguous(),
    )

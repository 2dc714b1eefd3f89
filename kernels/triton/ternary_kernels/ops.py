"""torch custom operators `torch.ops.ternary.*` with fake implementations: opaque to torch.compile, graph-safe.

    linear(x, packed, scale, k, row_absmax=None, resident=None) -> y
        x [..., K] float32 | bfloat16 | float16; packed uint8 [N, packed_width(K)]; scale float32 [N] (per row) or
        [N, ceil(K / 128)] (per group); y [..., N] in x's dtype, by the golden definition of `reference`. On
        CUDA the kernel is chosen by `dispatch` from M inside the operator; on a CPU the weights are unpacked at
        every call. row_absmax float32 [M]: the activation maximum over all shards (row-parallel). resident: see
        `resident`.
    linear_dense(x, weights, scale, row_absmax=None) -> y
        The same for weights unpacked once by `cpu.dense`: float32 [N, K]. The CPU's default.
    accumulate(x, packed, k, row_absmax=None) -> (acc int32 [M, N], token_scale float32 [M])
    accumulate_dense(x, weights, row_absmax=None) -> (acc, token_scale)
    finish(acc, token_scale, scale, dtype) -> y [M, N]
        linear in two halves, so that a row-parallel layer can add int32 sums over its shards and stay bit-exact.
    quantize(x, up=None, norm_weight=None, row_absmax=None, gate="none", eps=0.0) -> (codes, token_scale, row_sum)
        [gate] [norm] and quantization of x [M, K] in one launch (`reference.activate`, `reference.quantize`).
        codes is flat, in plane order, for `linear_quantized` only.
    linear_quantized(codes, token_scale, row_sum, packed, scale, k, dtype, resident=None) -> y [M, N]
    weight_only(x, packed, scale, k) -> y
        Activations are not quantized (A16); scale [N] or [N, ceil(K / 128)].
    resident(packed) -> int8 [N, 4 * packed_width]
        The unpacked copy in plane order that `linear` multiplies with in prefill instead of unpacking per call.

Nothing here mutates its arguments, synchronises, reads the clock or tunes. Bias and reshaping are the caller's.
Importing this module registers the operators.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ternary_kernels import cpu, reference
from ternary_kernels.operands import require_codes
from ternary_kernels.packing import CODE_SLACK, PackingError, from_planes, packed_width, to_planes, unpack
from ternary_kernels.scales import groups_of, per_row

NAMESPACE = "ternary"


@torch.library.custom_op(
    f"{NAMESPACE}::linear",
    mutates_args=(),
    schema=(
        "(Tensor x, Tensor packed, Tensor scale, int k, Tensor? row_absmax=None, Tensor? resident=None) -> Tensor"
    ),
)
def linear(
    x: Tensor,
    packed: Tensor,
    scale: Tensor,
    k: int,
    row_absmax: Tensor | None = None,
    resident: Tensor | None = None,
) -> Tensor:
    flat = _rows(x, packed, k)
    if x.is_cuda:
        from ternary_kernels import launch

        y = launch.linear(flat, packed, scale, k, row_absmax, resident)
    else:
        y = cpu.linear(flat, cpu.dense(packed, k), scale, row_absmax)
    return y.reshape(*x.shape[:-1], packed.shape[0])


@linear.register_fake
def _(
    x: Tensor,
    packed: Tensor,
    scale: Tensor,
    k: int,
    row_absmax: Tensor | None = None,
    resident: Tensor | None = None,
) -> Tensor:
    return x.new_empty((*x.shape[:-1], packed.shape[0]))


@torch.library.custom_op(
    f"{NAMESPACE}::linear_dense",
    mutates_args=(),
    schema="(Tensor x, Tensor weights, Tensor scale, Tensor? row_absmax=None) -> Tensor",
)
def linear_dense(x: Tensor, weights: Tensor, scale: Tensor, row_absmax: Tensor | None = None) -> Tensor:
    flat = x.reshape(-1, x.shape[-1])
    return cpu.linear(flat, weights, scale, row_absmax).reshape(*x.shape[:-1], weights.shape[0])


@linear_dense.register_fake
def _(x: Tensor, weights: Tensor, scale: Tensor, row_absmax: Tensor | None = None) -> Tensor:
    return x.new_empty((*x.shape[:-1], weights.shape[0]))


@torch.library.custom_op(
    f"{NAMESPACE}::accumulate",
    mutates_args=(),
    schema="(Tensor x, Tensor packed, int k, Tensor? row_absmax=None) -> (Tensor, Tensor)",
)
def accumulate(x: Tensor, packed: Tensor, k: int, row_absmax: Tensor | None = None) -> tuple[Tensor, Tensor]:
    flat = _rows(x, packed, k)
    if x.is_cuda:
        from ternary_kernels import launch

        return launch.accumulate(flat, packed, k, row_absmax)
    return cpu.accumulate(flat, cpu.dense(packed, k), row_absmax)


@accumulate.register_fake
def _(x: Tensor, packed: Tensor, k: int, row_absmax: Tensor | None = None) -> tuple[Tensor, Tensor]:
    return _fake_sums(x, packed.shape[0])


@torch.library.custom_op(
    f"{NAMESPACE}::accumulate_dense",
    mutates_args=(),
    schema="(Tensor x, Tensor weights, Tensor? row_absmax=None) -> (Tensor, Tensor)",
)
def accumulate_dense(x: Tensor, weights: Tensor, row_absmax: Tensor | None = None) -> tuple[Tensor, Tensor]:
    return cpu.accumulate(x.reshape(-1, x.shape[-1]), weights, row_absmax)


@accumulate_dense.register_fake
def _(x: Tensor, weights: Tensor, row_absmax: Tensor | None = None) -> tuple[Tensor, Tensor]:
    return _fake_sums(x, weights.shape[0])


@torch.library.custom_op(
    f"{NAMESPACE}::finish",
    mutates_args=(),
    schema="(Tensor acc, Tensor token_scale, Tensor scale, ScalarType dtype) -> Tensor",
)
def finish(acc: Tensor, token_scale: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    return reference.finish(acc, token_scale, scale, dtype)


@finish.register_fake
def _(acc: Tensor, token_scale: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    return acc.new_empty(acc.shape, dtype=dtype)


@torch.library.custom_op(
    f"{NAMESPACE}::quantize",
    mutates_args=(),
    schema=(
        "(Tensor x, Tensor? up=None, Tensor? norm_weight=None, Tensor? row_absmax=None, str gate='none', "
        "float eps=0.0) -> (Tensor, Tensor, Tensor)"
    ),
)
def quantize(
    x: Tensor,
    up: Tensor | None = None,
    norm_weight: Tensor | None = None,
    row_absmax: Tensor | None = None,
    gate: str = "none",
    eps: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    if x.is_cuda:
        from ternary_kernels import launch

        return launch.quantize(x, row_absmax, gate=gate, up=up, norm_weight=norm_weight, eps=eps)
    quantized = reference.quantize(reference.activate(x, gate, up, norm_weight, eps), row_absmax)
    slack = torch.zeros(CODE_SLACK, dtype=torch.int8)
    return torch.cat([to_planes(quantized.codes).reshape(-1), slack]), quantized.token_scale, quantized.row_sum


@quantize.register_fake
def _(
    x: Tensor,
    up: Tensor | None = None,
    norm_weight: Tensor | None = None,
    row_absmax: Tensor | None = None,
    gate: str = "none",
    eps: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    m, k = x.shape
    codes = x.new_empty((m * 4 * packed_width(k) + CODE_SLACK,), dtype=torch.int8)
    return codes, x.new_empty((m,), dtype=torch.float32), x.new_empty((m,), dtype=torch.int32)


@torch.library.custom_op(
    f"{NAMESPACE}::linear_quantized",
    mutates_args=(),
    schema=(
        "(Tensor codes, Tensor token_scale, Tensor row_sum, Tensor packed, Tensor scale, int k, ScalarType dtype, "
        "Tensor? resident=None) -> Tensor"
    ),
)
def linear_quantized(
    codes: Tensor,
    token_scale: Tensor,
    row_sum: Tensor,
    packed: Tensor,
    scale: Tensor,
    k: int,
    dtype: torch.dtype,
    resident: Tensor | None = None,
) -> Tensor:
    require_codes(codes, token_scale, packed_width(k))
    if packed.is_cuda:
        from ternary_kernels import launch

        held = launch.PlaneCodes(codes, token_scale, row_sum)
        return launch.linear_quantized(held, packed, scale, k, dtype, resident)
    m, width = token_scale.shape[0], packed.shape[1]
    rows = from_planes(codes[: m * 4 * width].view(m, 4, width), k)
    return cpu.linear_quantized(
        reference.Quantized(rows, token_scale, row_sum), cpu.dense(packed, k), scale, dtype
    )


@linear_quantized.register_fake
def _(
    codes: Tensor,
    token_scale: Tensor,
    row_sum: Tensor,
    packed: Tensor,
    scale: Tensor,
    k: int,
    dtype: torch.dtype,
    resident: Tensor | None = None,
) -> Tensor:
    return packed.new_empty((token_scale.shape[0], packed.shape[0]), dtype=dtype)


@torch.library.custom_op(
    f"{NAMESPACE}::weight_only",
    mutates_args=(),
    schema="(Tensor x, Tensor packed, Tensor scale, int k) -> Tensor",
)
def weight_only(x: Tensor, packed: Tensor, scale: Tensor, k: int) -> Tensor:
    flat = _rows(x, packed, k)
    if x.is_cuda:
        from ternary_kernels import launch

        y = launch.weight_only(flat, packed, scale, k)
    else:
        y = reference.weight_only_linear(flat, cpu.dense(packed, k), per_row(scale, packed.shape[0], groups_of(k)))
    return y.reshape(*x.shape[:-1], packed.shape[0])


@weight_only.register_fake
def _(x: Tensor, packed: Tensor, scale: Tensor, k: int) -> Tensor:
    return x.new_empty((*x.shape[:-1], packed.shape[0]))


@torch.library.custom_op(f"{NAMESPACE}::resident", mutates_args=(), schema="(Tensor packed) -> Tensor")
def resident(packed: Tensor) -> Tensor:
    if packed.is_cuda:
        from ternary_kernels import launch

        return launch.resident(packed)
    width = packed.shape[1]
    return to_planes(unpack(packed, 4 * width)).reshape(packed.shape[0], 4 * width)


@resident.register_fake
def _(packed: Tensor) -> Tensor:
    return packed.new_empty((packed.shape[0], 4 * packed.shape[1]), dtype=torch.int8)


def _fake_sums(x: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    tokens = x.numel() // x.shape[-1]
    return x.new_empty((tokens, rows), dtype=torch.int32), x.new_empty((tokens,), dtype=torch.float32)


def _rows(x: Tensor, packed: Tensor, k: int) -> Tensor:
    """x as a matrix; refuses what the kernels would read out of bounds."""
    if x.shape[-1] != k or packed.dim() != 2 or packed.shape[1] != packed_width(k):
        raise PackingError(
            f"weight: shape {tuple(packed.shape)} and K = {k} do not fit activations {tuple(x.shape)}"
        )
    if not x.is_floating_point():
        raise PackingError(f"activation: expected floating-point numbers, got {x.dtype}")
    return x.reshape(-1, k)

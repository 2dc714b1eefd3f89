"""Host side of the kernels: shapes, output tensors, grids, options.

Runs on CUDA tensors, or on CPU tensors under the interpreter. `linear`, `quantize`, `linear_quantized`,
`accumulate`, `weight_only` and `resident` are what `ops` calls; the rest launches one kernel each. M is compiled
in for M <= 4 only (the GEMV), so one compilation serves every larger batch size of a plan.

Weights must be contiguous here (a kernel reads whole rows); activations may have any row stride.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from ternary_kernels import dispatch
from ternary_kernels.activation import MAX_K, activate, activation_warps
from ternary_kernels.dispatch import Device, Kernel, Plan
from ternary_kernels.gemv import gemv
from ternary_kernels.grouped import grouped
from ternary_kernels.operands import beside, require_codes, require_rows, resident_copy, rows_and_groups
from ternary_kernels.packing import CODE_SLACK, PackingError, packed_width
from ternary_kernels.planes import HAS_PDL, interpreting
from ternary_kernels.prefill import prefill, prefill_tma, unpack_planes
from ternary_kernels.scales import per_row
from ternary_kernels.skinny import add_splits, skinny

GATES = {"none": 0, "relu2": 1, "silu": 2}
INTERPRETED = Device("interpreter", 90, 4, 232_448)


class PlaneCodes(NamedTuple):
    """Quantized activations: flat int8 codes in plane order, token_scale float32 [M], row_sum int32 [M].

    The codes are followed by CODE_SLACK bytes, which are read but never used: kernels read whole tiles.
    """

    codes: Tensor
    token_scale: Tensor
    row_sum: Tensor

    def planes(self, width: int) -> Tensor:
        """The codes as int8 [M, 4, width], without the slack."""
        m = self.token_scale.shape[0]
        return self.codes[: m * 4 * width].view(m, 4, width)


def linear(
    x: Tensor, packed: Tensor, scale: Tensor, k: int, row_absmax: Tensor | None, resident_weights: Tensor | None
) -> Tensor:
    """x [M, K] -> y [M, N] in x's dtype."""
    return linear_quantized(quantize(x, row_absmax), packed, scale, k, x.dtype, resident_weights)


def linear_quantized(
    codes: PlaneCodes, packed: Tensor, scale: Tensor, k: int, dtype: torch.dtype, resident_weights: Tensor | None
) -> Tensor:
    """Codes of `quantize` -> y [M, N]."""
    if scale.dim() == 2:
        return grouped_a8(codes, packed, scale, dtype)
    return multiply(codes, packed, scale, dtype, plan_for(codes, packed, k), resident_weights)


def accumulate(x: Tensor, packed: Tensor, k: int, row_absmax: Tensor | None) -> tuple[Tensor, Tensor]:
    """x [M, K] -> exact sums int32 [M, N], token scales [M]."""
    codes = quantize(x, row_absmax)
    return multiply(codes, packed, None, torch.int32, plan_for(codes, packed, k)), codes.token_scale


def weight_only(x: Tensor, packed: Tensor, scale: Tensor, k: int) -> Tensor:
    """x [M, K], not quantized; scale [N] or [N, G]."""
    x = x if x.stride(-1) == 1 else x.contiguous()
    rows, groups = rows_and_groups(packed)
    scale = per_row(scale, rows, groups)
    scale = scale if scale.dim() == 2 else scale[:, None].expand(-1, groups)
    return _grouped(x, x.stride(0), k, None, packed, scale.contiguous(), x.dtype)


def plan_for(codes: PlaneCodes, packed: Tensor, k: int) -> Plan:
    m, n = codes.token_scale.shape[0], packed.shape[0]
    return dispatch.choose(m, n, k, device_of(packed), dispatch.shipped_tables())


def quantize(
    x: Tensor,
    row_absmax: Tensor | None = None,
    *,
    gate: str = "none",
    up: Tensor | None = None,
    norm_weight: Tensor | None = None,
    eps: float = 0.0,
) -> PlaneCodes:
    """[gate] [norm] -> int8 codes in plane order, in one launch; x and up [M, K] with one row stride."""
    m, k = x.shape
    if k > MAX_K:
        raise PackingError(f"activation: K = {k} exceeds {MAX_K}, the longest row that one program holds")
    if x.stride(-1) != 1:
        x = x.contiguous()
    up, norm_weight, row_absmax = beside(x, up, norm_weight, row_absmax)
    if up is not None and up.stride() != x.stride():
        x, up = x.contiguous(), up.contiguous()
    width = packed_width(k)
    out = _empty_codes(m, width, x.device)
    if m == 0:
        return out
    runs = triton.next_power_of_2(width // 8)
    activate[(m,)](
        x, x if up is None else up, x if norm_weight is None else norm_weight,
        out.token_scale if row_absmax is None else row_absmax,
        out.codes, out.row_sum, out.token_scale, x.stride(0), k, width, eps,
        RUNS=runs, GATE=GATES[gate], NORM=norm_weight is not None, ABSMAX=row_absmax is not None,
        ASM=not interpreting(), num_warps=activation_warps(runs), enable_fp_fusion=False, **_pdl(x),
    )  # fmt: skip
    return out


def multiply(
    codes: PlaneCodes,
    packed: Tensor,
    scale: Tensor | None,
    dtype: torch.dtype,
    plan: Plan,
    resident_weights: Tensor | None = None,
) -> Tensor:
    """codes x packed -> [M, N] in `dtype`; the raw int32 sums when `scale` is None."""
    require_rows(packed)
    require_codes(codes.codes, codes.token_scale, packed.shape[1])
    out = torch.empty((codes.token_scale.shape[0], packed.shape[0]), dtype=dtype, device=packed.device)
    if out.numel() == 0:
        return out
    row_scale = codes.token_scale if scale is None else per_row(scale, *rows_and_groups(packed))
    match plan.kernel:
        case Kernel.GEMV:
            _gemv(codes, packed, row_scale, out, scale is None, plan)
        case Kernel.SKINNY:
            _skinny(codes, packed, row_scale, out, scale is None, plan)
        case Kernel.PREFILL | Kernel.PREFILL_TMA:
            weights = resident(packed) if resident_weights is None else resident_copy(resident_weights, packed)
            _prefill(codes, weights, row_scale, out, scale is None, plan)
    return out


def resident(packed: Tensor) -> Tensor:
    """Packed weights -> int8 [N, 4 * width] in plane order, values -1, 0, +1."""
    require_rows(packed)
    n, width = packed.shape
    out = torch.empty((n, 4 * width), dtype=torch.int8, device=packed.device)
    block = 4096
    unpack_planes[(triton.cdiv(n * width, block),)](
        packed.view(torch.int8),
        out,
        n * width,
        width,
        BLOCK=block,
        ASM=not interpreting(),
        num_warps=8,
        enable_fp_fusion=False,
    )
    return out


def grouped_a8(codes: PlaneCodes, packed: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """int8 activations, one scale per row and group of 128."""
    width = packed.shape[1]
    require_codes(codes.codes, codes.token_scale, width)
    scale = per_row(scale, *rows_and_groups(packed))
    return _grouped(codes.planes(width), 4 * width, 4 * width, codes.token_scale, packed, scale, dtype)


def _gemv(codes: PlaneCodes, packed: Tensor, scale: Tensor, out: Tensor, raw: bool, plan: Plan) -> None:
    m, n = out.shape
    gemv[(triton.cdiv(n, plan.tile["ROWS"]),)](
        packed.view(torch.int32), codes.codes.view(torch.int32), codes.row_sum, codes.token_scale, scale, out,
        n, packed.shape[1] // 4, M=m, MASKED=m <= 2, RAW=raw, ASM=not interpreting(), **plan.tile,
        num_warps=plan.warps, num_stages=1, enable_fp_fusion=False, **_pdl(packed),
    )  # fmt: skip


def _skinny(codes: PlaneCodes, packed: Tensor, scale: Tensor, out: Tensor, raw: bool, plan: Plan) -> None:
    (m, n), width, splits = out.shape, packed.shape[1], plan.tile["SPLITS"]
    target = out if splits == 1 else torch.empty((splits, m, n), dtype=torch.int32, device=out.device)
    grid = (triton.cdiv(n, plan.tile["BN"]), triton.cdiv(m, plan.tile["BM"]), splits)
    skinny[grid](
        packed.view(torch.int8), codes.codes, codes.row_sum, codes.token_scale, scale, target, m, n, width,
        EVEN_K=width % plan.tile["BK"] == 0, RAW=raw, ASM=not interpreting(), **plan.tile,
        num_warps=plan.warps, num_stages=plan.stages, enable_fp_fusion=False, **_pdl(packed),
    )  # fmt: skip
    if splits > 1:
        add_splits[(triton.cdiv(n, 1024), m)](
            target, codes.row_sum, codes.token_scale, scale, out, m, n, SPLITS=splits, BLOCK=1024, RAW=raw,
            ASM=not interpreting(), num_warps=4, enable_fp_fusion=False, **_pdl(packed),
        )  # fmt: skip


def _prefill(codes: PlaneCodes, weights: Tensor, scale: Tensor, out: Tensor, raw: bool, plan: Plan) -> None:
    (m, n), tile, device = out.shape, plan.tile, device_of(out)
    flat = codes.planes(weights.shape[1] // 4).view(m, -1)
    tiles = triton.cdiv(m, tile["BM"]) * triton.cdiv(n, tile["BN"])
    options: dict[str, Any] = {"num_warps": plan.warps, "num_stages": plan.stages, "enable_fp_fusion": False}
    options |= {"RAW": raw, "ASM": not interpreting()}
    if plan.kernel is Kernel.PREFILL_TMA:
        x = TensorDescriptor.from_tensor(flat, [tile["BM"], tile["BK"]])
        w = TensorDescriptor.from_tensor(weights, [tile["BN"], tile["BK"]])
        prefill_tma[(min(device.multiprocessors, tiles),)](
            x, w, codes.token_scale, scale, out, m, n, flat.shape[1], **tile, **options
        )
    else:
        words = device.capability < 90 and not interpreting()
        prefill[(tiles,)](
            flat, weights, codes.token_scale, scale, out, m, n, flat.shape[1], WORDS=words, **tile, **options
        )


def _grouped(
    x: Tensor, x_stride: int, k: int, token_scale: Tensor | None, packed: Tensor, scale: Tensor, dtype: torch.dtype
) -> Tensor:
    require_rows(packed)
    m, (n, width) = x.shape[0], packed.shape
    out = torch.empty((m, n), dtype=dtype, device=packed.device)
    if m == 0:
        return out
    bm = next((size for size in (16, 32) if m <= size), 64)
    grouped[(triton.cdiv(n, 64), triton.cdiv(m, bm))](
        packed.view(torch.int8), x, scale if token_scale is None else token_scale, scale, out, x_stride, k, m, n,
        width, BN=64, BM=bm, A8=token_scale is not None, EVEN_K=k == 4 * width, ASM=not interpreting(),
        num_warps=4, num_stages=4 if bm < 64 else 3, enable_fp_fusion=False, **_pdl(packed),
    )  # fmt: skip
    return out


def _empty_codes(m: int, width: int, device: torch.device) -> PlaneCodes:
    return PlaneCodes(
        torch.empty(m * 4 * width + CODE_SLACK, dtype=torch.int8, device=device),
        torch.empty(m, dtype=torch.float32, device=device),
        torch.empty(m, dtype=torch.int32, device=device),
    )


def device_of(tensor: Tensor) -> Device:
    """The device a tensor lives on; a small imaginary one under the interpreter."""
    return INTERPRETED if tensor.device.type == "cpu" else _cuda_device(tensor.device.index)


@cache
def _cuda_device(index: int) -> Device:
    found = torch.cuda.get_device_properties(index)
    if found.major < 8:
        raise PackingError(f"{found.name}: the kernels need compute capability 8.0 or later")
    shared = getattr(found, "shared_memory_per_block_optin", 101_376)
    return Device(found.name, found.major * 10 + found.minor, found.multi_processor_count, shared)


def _pdl(tensor: Tensor) -> dict[str, bool]:
    """Programmatic dependent launch where device and Triton have it."""
    if HAS_PDL and not interpreting() and device_of(tensor).capability >= 90:
        return {"PDL": True, "launch_pdl": True}
    return {"PDL": False}

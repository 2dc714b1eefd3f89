"""The activation path in one launch: [gate] [norm] -> absmax -> int8 -> plane order, row sum and token scale.

    h = x                                GATE = 0
    h = relu(x)**2 * up                  GATE = 1   (BitNet's feed-forward)
    h = x * sigmoid(x) * up              GATE = 2   (Llama's feed-forward)
    h = norm_weight * rms_norm(h)        NORM       (input norm, or BitNet's sub-norms)
    codes, token_scale, row_sum = quantize(h)       `reference.quantize`, bit for bit

One program per token keeps the row in registers: one read of x, one write of the codes. After each step the
value is rounded to x's dtype, as the unfused layers would do it. The row maximum is taken over the bit patterns
of |h|, which order like the numbers and put NaN on top, so that a NaN is never lost in a reduction.
"""

from __future__ import annotations

import triton
import triton.language as tl

from ternary_kernels.planes import gdc_launch_dependents, gdc_wait, round_half_even, round_to

MAX_K = 32_768  # a row must fit the registers of one program


def activation_warps(runs: int) -> int:
    """Warps for a row of RUNS * 32 values: 32 values per thread, between 4 and 16 warps."""
    return min(16, max(4, runs // 32))


@triton.jit
def quantize_row(h, row_absmax, token, ABSMAX: tl.constexpr, ASM: tl.constexpr):
    """float32 tile h of one token -> (int32 codes, token scale); the golden definition's order of operations."""
    if ABSMAX:
        peak_bits = tl.load(row_absmax + token).to(tl.int32, bitcast=True) & 0x7FFFFFFF
    else:
        bits = h.to(tl.int32, bitcast=True) & 0x7FFFFFFF
        peak_bits = tl.max(tl.max(bits, axis=1), axis=0)
    finite = peak_bits < 0x7F800000
    peak = tl.where(finite, peak_bits.to(tl.float32, bitcast=True), 1.0)
    peak = tl.maximum(peak, 1e-5)
    codes = round_half_even(tl.where(finite, h * (tl.div_rn(1.0, peak) * 127.0), 0.0), ASM)
    token_scale = tl.where(finite, tl.div_rn(peak, 127.0), float("nan"))
    return tl.minimum(tl.maximum(codes, -128), 127), token_scale


@triton.jit
def _step(h, dtype: tl.constexpr, ASM: tl.constexpr):
    """float32 rounded to the dtype of the unfused layers, as float32."""
    return round_to(h, dtype, ASM).to(tl.float32)


@triton.jit
def activate(
    x,  # [M, K], row stride x_stride
    up,  # [M, K], row stride x_stride; read when GATE
    norm_weight,  # [K]; read when NORM
    row_absmax,  # float32 [M]; read when ABSMAX
    codes,  # int8 [M, 4, WIDTH]
    row_sum,  # int32 [M]
    token_scale,  # float32 [M]
    x_stride,
    k_size,
    width,
    eps,
    RUNS: tl.constexpr,  # power of two, RUNS * 32 >= 4 * width
    GATE: tl.constexpr,
    NORM: tl.constexpr,
    ABSMAX: tl.constexpr,
    ASM: tl.constexpr,
    PDL: tl.constexpr,
):
    token = tl.program_id(0)
    runs = tl.arange(0, RUNS)[:, None]  # 32 consecutive k share a block and a plane
    lanes = tl.arange(0, 32)[None, :]
    k = runs * 32 + lanes
    ok = k < k_size
    row = token.to(tl.int64) * x_stride
    dtype = x.dtype.element_ty
    if PDL:
        gdc_wait()
        gdc_launch_dependents()
    h = tl.load(x + row + k, mask=ok, other=0.0).to(tl.float32)
    if GATE == 1:
        h = tl.maximum(h, 0.0, propagate_nan=tl.PropagateNan.ALL)
        h = _step(h * h, dtype, ASM)
    if GATE == 2:
        h = _step(tl.div_rn(h, 1.0 + tl.exp(-h)), dtype, ASM)
    if GATE != 0:
        h = _step(h * tl.load(up + row + k, mask=ok, other=0.0).to(tl.float32), dtype, ASM)
    if NORM:
        mean = tl.sum(tl.sum(h * h, axis=1), axis=0) / k_size
        h = _step(h * tl.rsqrt(mean + eps), dtype, ASM)
        h = _step(h * tl.load(norm_weight + k, mask=ok, other=0.0).to(tl.float32), dtype, ASM)
    quantized, scale = quantize_row(h, row_absmax, token, ABSMAX, ASM)
    code_at = codes + token.to(tl.int64) * (4 * width) + (runs % 4) * width + (runs // 4) * 32 + lanes
    tl.store(code_at, quantized.to(tl.int8), mask=k < 4 * width)
    tl.store(row_sum + token, tl.sum(tl.sum(quantized, axis=1), axis=0))
    tl.store(token_scale + token, scale)

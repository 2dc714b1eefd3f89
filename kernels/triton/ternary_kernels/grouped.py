"""One scale per 128 weights along K (Ternary-Bonsai and relatives), any M, int8 or 16-bit activations.

A block of the format is one group: 32 packed bytes, whose four planes are multiplied into one accumulator and then
scaled. The groups are added left to right in float32 by one program, product and sum rounded apart, so with int8
activations the result equals `reference.grouped_linear` bit for bit and does not depend on M.

Codes arrive in plane order, 16-bit activations as they are: 32 consecutive k of a group are one plane.
"""

# A device function goes on after a return under a constexpr `if`: every branch needs its else.
# ruff: noqa: RET505

from __future__ import annotations

import triton
import triton.language as tl

from ternary_kernels.planes import gdc_launch_dependents, gdc_wait, plane_halves, plane_values, product, round_to


@triton.jit
def _product(w, x, acc, PLANE: tl.constexpr, A8: tl.constexpr, ASM: tl.constexpr):
    """acc + plane PLANE of w [BN, 32] times x [32, BM]: int32 for int8 activations, else float32."""
    if A8:
        return tl.dot(plane_values(w, PLANE, ASM), x, acc, out_dtype=tl.int32)
    elif ASM:
        return tl.dot(plane_halves(w, PLANE, x.dtype, ASM), x, acc, input_precision="ieee")
    else:  # the interpreter cannot multiply bfloat16
        return tl.dot(plane_halves(w, PLANE, tl.float32, ASM), x.to(tl.float32), acc, input_precision="ieee")


@triton.jit(do_not_specialize=["m_rows"])
def grouped(
    packed,  # int8 [N, WIDTH]
    x,  # A8: int8 [M, 4, WIDTH] in plane order; else bfloat16 | float16 | float32 [M, K]
    token_scale,  # float32 [M]; read when A8
    scale,  # float32 [N, G]
    out,  # [M, N]
    x_stride,  # elements per row of x
    k_size,  # K; 4 * WIDTH when A8
    m_rows,
    n_rows,
    width,
    BN: tl.constexpr,
    BM: tl.constexpr,
    A8: tl.constexpr,
    EVEN_K: tl.constexpr,  # K is a multiple of 128
    ASM: tl.constexpr,
    PDL: tl.constexpr,
):
    rows = tl.program_id(0) * BN + tl.arange(0, BN)
    tokens = tl.program_id(1) * BM + tl.arange(0, BM)
    lanes = tl.arange(0, 32)
    row_ok, token_ok = rows < n_rows, tokens < m_rows
    groups = width // 32
    group_step = 32 if A8 else 128
    plane_step = width if A8 else 32
    weight_at = packed + rows[:, None].to(tl.int64) * width + lanes[None, :]  # [BN, 32]
    x_at = x + tokens[None, :].to(tl.int64) * x_stride + lanes[:, None]  # [32, BM]
    total = tl.zeros((BN, BM), tl.float32)
    if PDL:
        gdc_wait()
    for group in range(groups):
        w = tl.load(weight_at + group * 32, mask=row_ok[:, None], other=0)
        acc = tl.zeros((BN, BM), tl.int32 if A8 else tl.float32)
        for plane in tl.static_range(4):
            ok = token_ok[None, :]
            if not EVEN_K:
                ok = ok & (group * 128 + plane * 32 + lanes < k_size)[:, None]
            tile = tl.load(x_at + group * group_step + plane * plane_step, mask=ok, other=0)
            acc = _product(w, tile, acc, plane, A8, ASM)
        s = tl.load(scale + rows * groups + group, mask=row_ok, other=0.0)
        total += product(acc.to(tl.float32), s[:, None], ASM)
    if PDL:
        gdc_launch_dependents()
    if A8:
        total = total * tl.load(token_scale + tokens, mask=token_ok, other=0.0)[None, :]
    out_at = out + tokens[None, :].to(tl.int64) * n_rows + rows[:, None]
    tl.store(out_at, round_to(total, out.dtype.element_ty, ASM), mask=row_ok[:, None] & token_ok[None, :])

"""Small batches: y[M, N] for M = 5 .. ~384 on int8 tensor cores, straight from 2-bit weights.

The weights are the *left* operand: a tile of packed bytes [BN, BK] becomes four int8 tiles, one per plane, of
the same register layout (a shift and an `and` per four weights), each multiplied with its plane of the
activations [BK, BM] into one int32 accumulator [BN, BM]. On Hopper the left operand of the tensor-core
instruction comes from registers, so the unpacked weights never touch shared memory.

K may be split over SPLITS programs: each stores its int32 partial sums [SPLITS, M, N] and `add_splits` adds them.
Integer addition is associative, so the result does not depend on SPLITS, BM or M: deterministic and
batch-invariant.
"""

from __future__ import annotations

import triton
import triton.language as tl

from ternary_kernels.planes import gdc_launch_dependents, gdc_wait, plane_codes, round_to


@triton.jit
def _store_tile(
    acc, tokens, rows, row_sum, token_scale, scale, out, m_rows, n_rows, RAW: tl.constexpr, ASM: tl.constexpr
):
    """acc int32 [BN, BM] less the sum of the codes -> out[tokens, rows], scaled and rounded unless RAW."""
    row_ok, token_ok = rows < n_rows, tokens < m_rows
    ok = row_ok[:, None] & token_ok[None, :]
    out_at = out + tokens[None, :].to(tl.int64) * n_rows + rows[:, None]
    acc -= tl.load(row_sum + tokens, mask=token_ok, other=0)[None, :]
    if RAW:
        tl.store(out_at, acc, mask=ok)
    else:
        y = acc.to(tl.float32) * tl.load(token_scale + tokens, mask=token_ok, other=0.0)[None, :]
        y = y * tl.load(scale + rows, mask=row_ok, other=0.0)[:, None]
        tl.store(out_at, round_to(y, out.dtype.element_ty, ASM), mask=ok)


@triton.jit(do_not_specialize=["m_rows"])
def skinny(
    packed,  # int8 [N, WIDTH]
    codes,  # int8 [M, 4, WIDTH]
    row_sum,  # int32 [M]
    token_scale,  # float32 [M]
    scale,  # float32 [N]
    out,  # [M, N]; int32 when RAW; int32 [SPLITS, M, N] when SPLITS > 1
    m_rows,
    n_rows,
    width,
    BN: tl.constexpr,
    BM: tl.constexpr,
    BK: tl.constexpr,  # packed bytes per row per iteration; BK | width unless EVEN_K is False
    SPLITS: tl.constexpr,
    EVEN_K: tl.constexpr,
    RAW: tl.constexpr,
    ASM: tl.constexpr,
    PDL: tl.constexpr,
):
    rows = tl.program_id(0) * BN + tl.arange(0, BN)
    tokens = tl.program_id(1) * BM + tl.arange(0, BM)
    split = tl.program_id(2)
    lanes = tl.arange(0, BK)
    row_ok = rows < n_rows
    token_ok = tokens < m_rows
    steps = tl.cdiv(tl.cdiv(width, BK), SPLITS)
    begin = split * steps * BK
    end = tl.minimum(begin + steps * BK, width)
    weight_at = packed + rows[:, None].to(tl.int64) * width + lanes[None, :]  # [BN, BK]
    code_at = codes + tokens[None, :].to(tl.int64) * (4 * width) + lanes[:, None]  # [BK, BM]
    acc = tl.zeros((BN, BM), tl.int32)
    if PDL:
        gdc_wait()
    for start in range(begin, end, BK):
        weight_ok, code_ok = row_ok[:, None], token_ok[None, :]
        if not EVEN_K:
            weight_ok = weight_ok & (lanes < end - start)[None, :]
            code_ok = code_ok & (lanes < end - start)[:, None]
        w = tl.load(weight_at + start, mask=weight_ok, other=0)
        for plane in tl.static_range(4):
            x = tl.load(code_at + start + plane * width, mask=code_ok, other=0)
            acc = tl.dot(plane_codes(w, plane, ASM), x, acc, out_dtype=tl.int32)
    if PDL:
        gdc_launch_dependents()
    if SPLITS > 1:
        ok = row_ok[:, None] & token_ok[None, :]
        out_at = out + tokens[None, :].to(tl.int64) * n_rows + rows[:, None]
        tl.store(out_at + split.to(tl.int64) * m_rows * n_rows, acc, mask=ok)
    else:
        _store_tile(acc, tokens, rows, row_sum, token_scale, scale, out, m_rows, n_rows, RAW, ASM)


@triton.jit(do_not_specialize=["m_rows"])
def add_splits(
    partial,  # int32 [SPLITS, M, N]
    row_sum,  # int32 [M]
    token_scale,  # float32 [M]
    scale,  # float32 [N]
    out,  # [M, N]; int32 when RAW
    m_rows,
    n_rows,
    SPLITS: tl.constexpr,
    BLOCK: tl.constexpr,
    RAW: tl.constexpr,
    ASM: tl.constexpr,
    PDL: tl.constexpr,
):
    token = tl.program_id(1)
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    ok = rows < n_rows
    at = token.to(tl.int64) * n_rows + rows
    if PDL:
        gdc_wait()
    acc = tl.zeros((BLOCK,), tl.int32) - tl.load(row_sum + token)
    for split in tl.static_range(SPLITS):
        acc += tl.load(partial + split * (m_rows.to(tl.int64) * n_rows) + at, mask=ok, other=0)
    if RAW:
        tl.store(out + at, acc, mask=ok)
    else:
        y = acc.to(tl.float32) * tl.load(token_scale + token)
        y = y * tl.load(scale + rows, mask=ok, other=0.0)
        tl.store(out + at, round_to(y, out.dtype.element_ty, ASM), mask=ok)

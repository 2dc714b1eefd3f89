"""Decode: y[M, N] for M <= 4 on the integer dot product of the CUDA cores, one program per ROWS output rows.

A word w holds 16 codes. The masks 0x03.., 0x0C.., 0x30.., 0xC0.. leave plane p in place, scaled by 4**p: no
shift, no byte permute. With one accumulator per plane

    acc = a0 + (a1 >> 2) + (a2 >> 4) + (a3 >> 6) - sum(codes)

which is exact, because a_p is a multiple of 4**p. For M > 2 four accumulators per token would not fit the
registers; the planes are then shifted down once per word for all tokens and share one accumulator (MASKED =
False).

The full K is one program's: no split, no atomics, deterministic. The accumulators stay per lane through the
loop and are added across lanes once, at the end. The next tile of weights is in flight while this one is
multiplied, and the first one before the previous kernel has finished (weights do not depend on it).

Words beyond the end of a row are read as code 0, which multiplies whatever activation is read there:
activations need no mask, only memory behind them (`packing.CODE_SLACK` bytes).
"""

# A device function goes on after a return under a constexpr `if`: every branch needs its else.
# ruff: noqa: RET505

from __future__ import annotations

import triton
import triton.language as tl

from ternary_kernels.planes import dot4, gdc_launch_dependents, gdc_wait, round_to


@triton.jit
def _planes(w, MASKED: tl.constexpr):
    """The four planes of a tile of words; scaled by 4**p when MASKED, else shifted down."""
    if MASKED:
        return w & 0x03030303, w & 0x0C0C0C0C, w & 0x30303030, w & -1061109568
    else:
        return w & 0x03030303, (w >> 2) & 0x03030303, (w >> 4) & 0x03030303, (w >> 6) & 0x03030303


@triton.jit
def _add_token(sums, w, at, words, MASKED: tl.constexpr, ASM: tl.constexpr):
    """One token's accumulators after a tile: w from `_planes`, `at` the addresses of its plane 0."""
    x0, x1, x2, x3 = tl.load(at), tl.load(at + words), tl.load(at + 2 * words), tl.load(at + 3 * words)
    if MASKED:
        return (
            dot4(w[0], x0, sums[0], ASM),
            dot4(w[1], x1, sums[1], ASM),
            dot4(w[2], x2, sums[2], ASM),
            dot4(w[3], x3, sums[3], ASM),
        )
    else:
        low = dot4(w[1], x1, dot4(w[0], x0, sums[0], ASM), ASM)
        return (dot4(w[3], x3, dot4(w[2], x2, low, ASM), ASM),)


@triton.jit
def _total(sums, MASKED: tl.constexpr):
    if MASKED:
        return tl.sum(sums[0] + (sums[1] >> 2) + (sums[2] >> 4) + (sums[3] >> 6), axis=1)
    else:
        return tl.sum(sums[0], axis=1)


@triton.jit
def gemv(
    packed,  # int32 [N, WORDS]: uint8 [N, 4 * WORDS] seen as words
    codes,  # int32 [M, 4, WORDS]: int8 activations in plane order seen as words; readable 4 * STEP bytes further
    row_sum,  # int32 [M]
    token_scale,  # float32 [M]
    scale,  # float32 [N]
    out,  # [M, N]; int32 when RAW
    n_rows,
    words,
    M: tl.constexpr,
    ROWS: tl.constexpr,
    STEP: tl.constexpr,  # words per row per iteration
    MASKED: tl.constexpr,
    RAW: tl.constexpr,  # store the int32 sums instead of y
    ASM: tl.constexpr,
    PDL: tl.constexpr,
):
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    lanes = tl.arange(0, STEP)
    row_ok = rows < n_rows
    weight_at = packed + rows[:, None].to(tl.int64) * words + lanes[None, :]  # [ROWS, STEP]
    first = row_ok[:, None] & (lanes < words)[None, :]
    w_next = tl.load(weight_at, mask=first, other=0, eviction_policy="evict_first")
    zero = tl.zeros((ROWS, STEP), tl.int32)
    sums = ((zero, zero, zero, zero) if MASKED else (zero,),) * M
    if PDL:
        gdc_wait()
    for start in range(0, words, STEP):
        w = _planes(w_next, MASKED)
        ahead = row_ok[:, None] & (lanes < words - start - STEP)[None, :]
        w_next = tl.load(weight_at + start + STEP, mask=ahead, other=0, eviction_policy="evict_first")
        added = ()
        for token in tl.static_range(M):
            # Broadcast addresses give activations the layout of the weights: no conversion through shared memory.
            at = tl.broadcast_to((codes + token * 4 * words + start + lanes)[None, :], (ROWS, STEP))
            added = added + (_add_token(sums[token], w, at, words, MASKED, ASM),)  # noqa: RUF005
        sums = added
    if PDL:
        gdc_launch_dependents()
    for token in tl.static_range(M):
        acc = _total(sums[token], MASKED) - tl.load(row_sum + token)
        out_at = out + token * n_rows + rows
        if RAW:
            tl.store(out_at, acc, mask=row_ok)
        else:
            y = acc.to(tl.float32) * tl.load(token_scale + token)
            y = y * tl.load(scale + rows, mask=row_ok, other=0.0)
            tl.store(out_at, round_to(y, out.dtype.element_ty, ASM), mask=row_ok)

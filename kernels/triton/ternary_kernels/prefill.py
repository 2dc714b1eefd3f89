"""Large batches: y[M, N] for M >= ~384 in two phases, where unpacking inside the product would cost more than
it saves.

`unpack_planes` writes the weights as int8 [N, 4, WIDTH] in plane order (once per call into a workspace, or once
at load as a resident copy); `prefill` is a plain int8 x int8 -> int32 product over the plane-ordered K. Both
operands share one order of K, so nothing has to be permuted back.

Two forms with one result: `prefill_tma` (sm_90 and later) is persistent and reads through tensor descriptors,
`prefill` (before) is one program per tile with plain asynchronous copies. Both walk the tiles in bands of GROUP
row tiles, so that a band stays in L2.
"""

from __future__ import annotations

import triton
import triton.language as tl

from ternary_kernels.planes import as_words, plane_values, round_to


@triton.jit
def unpack_planes(
    packed,  # int8 [N, WIDTH]
    out,  # int8 [N, 4, WIDTH]: -1, 0, +1
    size,  # N * WIDTH
    width,
    BLOCK: tl.constexpr,  # bytes per program
    ASM: tl.constexpr,
):
    # Runs of 16 bytes: WIDTH is a multiple of 32, so a run never crosses a row.
    runs = tl.program_id(0).to(tl.int64) * (BLOCK // 16) + tl.arange(0, BLOCK // 16)
    lanes = tl.arange(0, 16)[None, :]
    ok = runs[:, None] * 16 + lanes < size
    w = tl.load(packed + runs[:, None] * 16 + lanes, mask=ok, other=0, eviction_policy="evict_first")
    row = (runs * 16) // width
    out_at = out + (row * (3 * width) + runs * 16)[:, None] + lanes
    for plane in tl.static_range(4):
        tl.store(out_at + plane * width, plane_values(w, plane, ASM), mask=ok)


@triton.jit
def _tile_of(tile, tiles_m, tiles_n, GROUP: tl.constexpr):
    """The (row, column) of a tile number, in bands of GROUP row tiles."""
    band = tile // (GROUP * tiles_n)
    first = band * GROUP
    rows = tl.minimum(tiles_m - first, GROUP)
    inside = tile % (GROUP * tiles_n)
    return first + inside % rows, inside // rows


@triton.jit
def _store_tile(acc, tokens, rows, token_scale, scale, out, m_rows, n_rows, RAW: tl.constexpr, ASM: tl.constexpr):
    """acc int32 [BM, BN] -> out[tokens, rows], scaled and rounded unless RAW."""
    ok = (tokens < m_rows)[:, None] & (rows < n_rows)[None, :]
    out_at = out + tokens[:, None].to(tl.int64) * n_rows + rows[None, :]
    if RAW:
        tl.store(out_at, acc, mask=ok)
    else:
        y = acc.to(tl.float32) * tl.load(token_scale + tokens, mask=tokens < m_rows, other=0.0)[:, None]
        y = y * tl.load(scale + rows, mask=rows < n_rows, other=0.0)[None, :]
        tl.store(out_at, round_to(y, out.dtype.element_ty, ASM), mask=ok)


@triton.jit(do_not_specialize=["m_rows"])
def prefill(
    codes,  # int8 [M, 4 * WIDTH]
    weights,  # int8 [N, 4 * WIDTH]
    token_scale,  # float32 [M]
    scale,  # float32 [N]
    out,  # [M, N]; int32 when RAW
    m_rows,
    n_rows,
    k_size,  # 4 * WIDTH, a multiple of BK
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
    GROUP: tl.constexpr,
    RAW: tl.constexpr,
    WORDS: tl.constexpr,  # before sm_90: see `as_words`
    ASM: tl.constexpr,
):
    tile_m, tile_n = _tile_of(tl.program_id(0), tl.cdiv(m_rows, BM), tl.cdiv(n_rows, BN), GROUP)
    tokens = tile_m * BM + tl.arange(0, BM)
    rows = tile_n * BN + tl.arange(0, BN)
    lanes = tl.arange(0, BK)
    # Rows past the end read row 0 instead: their products are never stored, and no mask sits in the loop.
    code_row = tl.where(tokens < m_rows, tokens, 0).to(tl.int64)
    weight_row = tl.where(rows < n_rows, rows, 0).to(tl.int64)
    code_at = codes + code_row[:, None] * k_size + lanes[None, :]  # [BM, BK]
    weight_at = weights + weight_row[None, :] * k_size + lanes[:, None]  # [BK, BN]
    acc = tl.zeros((BM, BN), tl.int32)
    for start in range(0, k_size, BK):
        x, w = tl.load(code_at + start), tl.load(weight_at + start)
        if WORDS:
            x, w = as_words(x), as_words(w)
        acc = tl.dot(x, w, acc, out_dtype=tl.int32)
    _store_tile(acc, tokens, rows, token_scale, scale, out, m_rows, n_rows, RAW, ASM)


@triton.jit(do_not_specialize=["m_rows"])
def prefill_tma(
    codes,  # tensor descriptor int8 [M, 4 * WIDTH], block [BM, BK]
    weights,  # tensor descriptor int8 [N, 4 * WIDTH], block [BN, BK]
    token_scale,  # float32 [M]
    scale,  # float32 [N]
    out,  # [M, N]; int32 when RAW
    m_rows,
    n_rows,
    k_size,  # 4 * WIDTH
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
    GROUP: tl.constexpr,
    RAW: tl.constexpr,
    ASM: tl.constexpr,
):
    tiles_m, tiles_n = tl.cdiv(m_rows, BM), tl.cdiv(n_rows, BN)
    for tile in range(tl.program_id(0), tiles_m * tiles_n, tl.num_programs(0)):
        tile_m, tile_n = _tile_of(tile, tiles_m, tiles_n, GROUP)
        acc = tl.zeros((BM, BN), tl.int32)
        for start in range(0, k_size, BK):
            x = codes.load([tile_m * BM, start])
            w = weights.load([tile_n * BN, start])
            acc = tl.dot(x, w.T, acc, out_dtype=tl.int32)
        tokens = tile_m * BM + tl.arange(0, BM)
        rows = tile_n * BN + tl.arange(0, BN)
        _store_tile(acc, tokens, rows, token_scale, scale, out, m_rows, n_rows, RAW, ASM)

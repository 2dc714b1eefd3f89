"""Device functions that take packed weights apart, each as inline PTX and as a pure-`tl` twin.

The constexpr ASM chooses: inline assembly compiles to the instructions that the kernels are designed around (the pure
form costs about five times the ALU work, mostly byte permutes), the twin runs in the interpreter. Both compute the same
integers; `tests/kernels` compares them.
"""

from __future__ import annotations

import os

import triton
import triton.language as tl

try:
    from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait
except ImportError:  # a Triton without programmatic dependent launch: kernels are launched with PDL=False
    gdc_launch_dependents = gdc_wait = None

HAS_PDL = gdc_wait is not None


def interpreting() -> bool:
    """True when Triton runs kernels in its interpreter (TRITON_INTERPRET=1): no inline assembly, CPU tensors."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"


@triton.jit
def dot4(weights, codes, acc, ASM: tl.constexpr):
    """acc + sum over 4 bytes of u8(weights) * s8(codes); int32 each, any broadcastable shapes."""
    if ASM:
        return tl.inline_asm_elementwise(
            "dp4a.u32.s32 $0, $1, $2, $3;", "=r,r,r,r", [weights, codes, acc], dtype=tl.int32, is_pure=True, pack=1
        )
    else:
        for byte in tl.static_range(4):
            acc += ((weights >> (8 * byte)) & 0xFF) * ((codes << (24 - 8 * byte)) >> 24)
        return acc


@triton.jit
def plane_codes(packed, PLANE: tl.constexpr, ASM: tl.constexpr):
    """Plane PLANE of a tile of packed bytes (int8) as codes 0, 1, 2 (int8); four bytes per register, no shuffle."""
    if ASM:
        if PLANE == 0:
            asm: tl.constexpr = "and.b32 $0, $1, 0x03030303;"
        elif PLANE == 1:
            asm: tl.constexpr = "{.reg .b32 t; shr.u32 t, $1, 2; and.b32 $0, t, 0x03030303;}"
        elif PLANE == 2:
            asm: tl.constexpr = "{.reg .b32 t; shr.u32 t, $1, 4; and.b32 $0, t, 0x03030303;}"
        else:
            asm: tl.constexpr = "{.reg .b32 t; shr.u32 t, $1, 6; and.b32 $0, t, 0x03030303;}"
        return tl.inline_asm_elementwise(asm, "=r,r", [packed], dtype=tl.int8, is_pure=True, pack=4)
    else:
        return ((packed >> (2 * PLANE)) & 3).to(tl.int8)


@triton.jit
def round_half_even(value, ASM: tl.constexpr):
    """float32 -> the nearest int32, ties to even; |value| < 2**22."""
    if ASM:
        return tl.inline_asm_elementwise(
            "cvt.rni.s32.f32 $0, $1;", "=r,r", [value], dtype=tl.int32, is_pure=True, pack=1
        )
    else:
        return ((value + 12582912.0) - 12582912.0).to(tl.int32)

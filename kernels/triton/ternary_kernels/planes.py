"""Device functions that take packed weights apart, each as inline PTX and as a pure-`tl` twin.

The constexpr ASM chooses: inline assembly compiles to the instructions that the kernels are designed around
(the pure form costs about five times the ALU work, mostly byte permutes), the twin runs in the interpreter.
Both compute the same integers; `tests/kernels` compares them.
"""

# A device function goes on after a return under a constexpr `if`: every branch needs its else.
# ruff: noqa: RET505

from __future__ import annotations

import os

import triton
import triton.language as tl

try:
    from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait
except ImportError:  # a Triton without programmatic dependent launch: kernels are launched with PDL=False
    gdc_launch_dependents = gdc_wait = None

HAS_PDL = gdc_wait is not None


def _per_plane(body: str) -> tl.constexpr:
    """`body` once per plane, where t is the packed word with that plane at bits 0 and 1 of each byte."""
    return tl.constexpr(tuple(f"{{.reg .b32 t, u; shr.u32 t, $SRC, {2 * plane}; {body}}}" for plane in range(4)))


def _one_register(body: str) -> tl.constexpr:
    return tl.constexpr(tuple(text.replace("$SRC", "$1") for text in _per_plane(body).value))


def _two_registers(body: str) -> tl.constexpr:
    return tl.constexpr(tuple(text.replace("$SRC", "$2") for text in _per_plane(body).value))


CODES_ASM = _one_register("and.b32 $0, t, 0x03030303;")
VALUES_ASM = _one_register(
    "lop3.b32 u, t, 0x03030303, 0x80808080, 0xEA; sub.u32 u, u, 0x01010101; xor.b32 $0, u, 0x80808080;"
)
BFLOATS_ASM = _two_registers(
    ".reg .b32 one, low; mov.b32 one, 0x3F803F80; mov.b32 low, 0xC301C301; "
    "prmt.b32 u, t, 0, 0x4140; lop3.b32 u, u, 0x00030003, 0x43004300, 0xEA; fma.rn.bf16x2 $0, u, one, low; "
    "prmt.b32 u, t, 0, 0x4342; lop3.b32 u, u, 0x00030003, 0x43004300, 0xEA; fma.rn.bf16x2 $1, u, one, low;"
)
HALVES_ASM = _two_registers(
    ".reg .b32 low; mov.b32 low, 0x64016401; "
    "prmt.b32 u, t, 0, 0x4140; lop3.b32 u, u, 0x00030003, 0x64006400, 0xEA; sub.rn.f16x2 $0, u, low; "
    "prmt.b32 u, t, 0, 0x4342; lop3.b32 u, u, 0x00030003, 0x64006400, 0xEA; sub.rn.f16x2 $1, u, low;"
)


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
    """Plane PLANE of a tile of packed bytes (int8) as codes 0, 1, 2 (int8); four bytes per register."""
    if ASM:
        return tl.inline_asm_elementwise(CODES_ASM[PLANE], "=r,r", [packed], dtype=tl.int8, is_pure=True, pack=4)
    else:
        return ((packed >> (2 * PLANE)) & 3).to(tl.int8)


@triton.jit
def as_words(tile):
    """An int8 tile unchanged, as registers of four bytes.

    Before sm_90 Triton prefetches the operands of a dot across iterations byte by byte, which costs three byte
    permutes per tensor-core instruction; an operation with two operands in between keeps it from doing so.
    """
    return tl.inline_asm_elementwise(
        "mov.b32 $0, $1;", "=r,r,r", [tile, tile], dtype=tl.int8, is_pure=True, pack=4
    )


@triton.jit
def plane_values(packed, PLANE: tl.constexpr, ASM: tl.constexpr):
    """Plane PLANE of a tile of packed bytes (int8) as weights -1, 0, +1 (int8)."""
    if ASM:
        # A borrow must not cross bytes: set bit 7, subtract 1, clear bit 7 again by xor.
        return tl.inline_asm_elementwise(VALUES_ASM[PLANE], "=r,r", [packed], dtype=tl.int8, is_pure=True, pack=4)
    else:
        return ((packed >> (2 * PLANE)) & 3).to(tl.int8) - 1


@triton.jit
def plane_halves(packed, PLANE: tl.constexpr, dtype: tl.constexpr, ASM: tl.constexpr):
    """Plane PLANE of a tile of packed bytes (int8) as weights -1, 0, +1 in `dtype` (bfloat16, float16 or float32).

    The assembly writes a code into the last bits of 128.0 (bfloat16) or 1024.0 (float16) and subtracts 129 or
    1025: exact.
    """
    if ASM and dtype == tl.bfloat16:
        return tl.inline_asm_elementwise(
            BFLOATS_ASM[PLANE], "=r,=r,r", [packed], dtype=tl.bfloat16, is_pure=True, pack=4
        )
    elif ASM and dtype == tl.float16:
        return tl.inline_asm_elementwise(
            HALVES_ASM[PLANE], "=r,=r,r", [packed], dtype=tl.float16, is_pure=True, pack=4
        )
    else:
        return (((packed >> (2 * PLANE)) & 3) - 1).to(tl.float32).to(dtype)


@triton.jit
def round_half_even(value, ASM: tl.constexpr):
    """float32 -> the nearest int32, ties to even; |value| < 2**22."""
    if ASM:
        return tl.inline_asm_elementwise(
            "cvt.rni.s32.f32 $0, $1;", "=r,r", [value], dtype=tl.int32, is_pure=True, pack=1
        )
    else:
        return ((value + 12582912.0) - 12582912.0).to(tl.int32)


@triton.jit
def product(left, right, ASM: tl.constexpr):
    """left * right in float32, rounded before anything is added: an explicit .rn is never fused into an FMA."""
    if ASM:
        return tl.inline_asm_elementwise(
            "mul.rn.f32 $0, $1, $2;", "=r,r,r", [left, right], dtype=tl.float32, is_pure=True, pack=1
        )
    else:
        return left * right


@triton.jit
def round_to(value, dtype: tl.constexpr, ASM: tl.constexpr):
    """float32 -> `dtype`, to nearest, ties to even. The interpreter's own cast to bfloat16 cuts off."""
    if ASM or dtype != tl.bfloat16:
        return value.to(dtype)
    else:
        bits = value.to(tl.int32, bitcast=True)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & -65536
        return bits.to(tl.float32, bitcast=True).to(dtype)

"""The device functions that take words apart: the twins by definition; on a GPU the assembly, too."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl
from ternary_kernels.planes import (
    dot4,
    plane_codes,
    plane_halves,
    plane_values,
    round_half_even,
    round_to,
)


@triton.jit
def split_kernel(packed, codes, values, halves, PLANE: tl.constexpr, ASM: tl.constexpr):
    at = tl.arange(0, 256)
    tile = tl.load(packed + at)
    tl.store(codes + at, plane_codes(tile, PLANE, ASM))
    tl.store(values + at, plane_values(tile, PLANE, ASM))
    tl.store(halves + at, plane_halves(tile, PLANE, halves.dtype.element_ty, ASM))


@triton.jit
def dot_kernel(weights, codes, acc, out, ASM: tl.constexpr):
    at = tl.arange(0, 256)
    tl.store(out + at, dot4(tl.load(weights + at), tl.load(codes + at), tl.load(acc + at), ASM))


@triton.jit
def round_kernel(values, integers, rounded, ASM: tl.constexpr):
    at = tl.arange(0, 256)
    value = tl.load(values + at)
    tl.store(integers + at, round_half_even(value, ASM))
    tl.store(rounded + at, round_to(value, rounded.dtype.element_ty, ASM))


FORMS = [pytest.param(False, id="twin"), pytest.param(True, id="assembly", marks=pytest.mark.gpu)]


def home(asm: bool) -> torch.device:
    return torch.device("cuda" if asm else "cpu")


@pytest.mark.parametrize("asm", FORMS)
@pytest.mark.parametrize("plane", range(4))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_byte_is_taken_apart(plane: int, dtype: torch.dtype, asm: bool) -> None:
    packed = torch.arange(256, device=home(asm)).to(torch.uint8).view(torch.int8)
    expected = (torch.arange(256, device=home(asm)) >> (2 * plane)) & 3
    codes, values = torch.empty_like(packed), torch.empty_like(packed)
    halves = torch.empty(256, dtype=dtype, device=home(asm))
    split_kernel[(1,)](packed, codes, values, halves, PLANE=plane, ASM=asm)
    valid = expected < 3
    assert torch.equal(codes.int(), expected.int())
    assert torch.equal(values.int()[valid], expected.int()[valid] - 1)
    assert torch.equal(halves.float()[valid], expected.float()[valid] - 1)


@pytest.mark.parametrize("asm", FORMS)
def test_the_dot_product_takes_unsigned_weights_and_signed_codes(asm: bool, rng: torch.Generator) -> None:
    weights = torch.randint(0, 256, (256, 4), generator=rng)
    codes = torch.randint(-128, 128, (256, 4), generator=rng)
    acc = torch.randint(-1000, 1000, (256,), generator=rng)
    words = weights.to(torch.uint8).view(torch.int32).flatten().to(home(asm))
    signed = codes.to(torch.int8).view(torch.int32).flatten().to(home(asm))
    out = torch.empty(256, dtype=torch.int32, device=home(asm))
    dot_kernel[(1,)](words, signed, acc.to(torch.int32).to(home(asm)), out, ASM=asm)
    assert torch.equal(out.cpu(), (acc + (weights * codes).sum(1)).to(torch.int32))


@pytest.mark.parametrize("asm", FORMS)
def test_rounding_is_to_nearest_with_ties_to_even(asm: bool, rng: torch.Generator) -> None:
    values = torch.cat([torch.arange(-64, 64) + 0.5, torch.randn(128, generator=rng) * 100]).to(home(asm))
    integers = torch.empty(256, dtype=torch.int32, device=home(asm))
    rounded = torch.empty(256, dtype=torch.bfloat16, device=home(asm))
    round_kernel[(1,)](values, integers, rounded, ASM=asm)
    assert torch.equal(integers, values.round().to(torch.int32))
    assert torch.equal(rounded, values.to(torch.bfloat16))

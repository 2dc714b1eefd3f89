"""One scale per 128 weights: int8 activations bit for bit, 16-bit activations to a tolerance."""

from __future__ import annotations

import pytest
import torch
from ternary_kernels import launch, reference
from ternary_kernels.scales import groups_of

from tests.kernels.layers import activations, layer

SHAPES = [(1, 20, 128), (5, 70, 330), (17, 64, 256), (33, 40, 512)]


@pytest.mark.parametrize("shape", SHAPES)
def test_int8_activations_equal_the_definition_bit_for_bit(
    shape: tuple[int, int, int], rng: torch.Generator
) -> None:
    m, n, k = shape
    made, x = layer(n, k, rng), activations(m, k, rng)
    scale = torch.rand(n, groups_of(k), generator=rng)
    y = launch.linear(x, made.packed, scale, k, None, None)
    assert torch.equal(y, reference.grouped_linear(x, made.weights, scale))


def test_a_row_of_a_batch_equals_the_row_alone(rng: torch.Generator) -> None:
    made, x = layer(40, 256, rng), activations(20, 256, rng)
    scale = torch.rand(40, 2, generator=rng)
    batch = launch.linear(x, made.packed, scale, 256, None, None)
    for row in (0, 19):
        assert torch.equal(
            batch[row : row + 1], launch.linear(x[row : row + 1], made.packed, scale, 256, None, None)
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", SHAPES)
def test_weight_only_agrees_with_float64(
    shape: tuple[int, int, int], dtype: torch.dtype, rng: torch.Generator
) -> None:
    m, n, k = shape
    made, x = layer(n, k, rng), activations(m, k, rng, dtype)
    for scale in (made.scale, torch.rand(n, groups_of(k), generator=rng)):
        y = launch.weight_only(x, made.packed, scale, k)
        expected = reference.weight_only_linear(x, made.weights, scale)
        step = torch.finfo(dtype).eps * expected.float().abs().max()
        assert y.dtype == dtype
        torch.testing.assert_close(y, expected, rtol=0, atol=max(step.item(), 2e-6 * k))


def test_weight_only_reads_rows_of_any_stride(rng: torch.Generator) -> None:
    made, base = layer(20, 256, rng), activations(3, 300, rng)
    x = base[:, 20:276]
    y = launch.weight_only(x, made.packed, made.scale, 256)
    assert torch.equal(y, launch.weight_only(x.contiguous(), made.packed, made.scale, 256))


def test_every_group_has_its_own_scale(rng: torch.Generator) -> None:
    made, x = layer(8, 384, rng), activations(1, 384, rng)
    scale = torch.ones(8, 3)
    before = launch.linear(x, made.packed, scale, 384, None, None)
    scale[5, 1] = 3.0
    changed = launch.linear(x, made.packed, scale, 384, None, None) != before
    assert changed.nonzero().tolist() == [[0, 5]]

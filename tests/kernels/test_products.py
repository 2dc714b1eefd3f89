"""Every kernel's int32 sums equal an int64 reference; every kernel gives the same bits as every other."""

from __future__ import annotations

import pytest
import torch
from ternary_kernels import launch, packing, reference
from ternary_kernels.dispatch import Plan
from ternary_kernels.launch import PlaneCodes, multiply, quantize
from torch import Tensor

from tests.kernels.layers import PLANS, TILED, Layer, activations, int64_sums, layer

GEMV_SHAPES = [(1, 100, 130), (2, 64, 512), (3, 33, 384), (4, 20, 260), (1, 17, 2570)]
TILED_SHAPES = [(5, 100, 130), (7, 64, 128), (16, 20, 384), (17, 65, 260), (33, 100, 512), (1, 17, 2570)]
GRID = [
    *(pytest.param("gemv", shape, id=f"gemv-{shape}") for shape in GEMV_SHAPES),
    *(pytest.param(name, shape, id=f"{name}-{shape}") for name in TILED for shape in TILED_SHAPES),
]


def sums(codes: PlaneCodes, packed: Tensor, plan: Plan) -> Tensor:
    return multiply(codes, packed, None, torch.int32, plan)


def held_codes(codes: Tensor) -> PlaneCodes:
    """Chosen int8 codes [M, K] as the activation kernel would hand them over, with a poisoned slack."""
    slack = torch.full((packing.CODE_SLACK,), 127, dtype=torch.int8)
    flat = torch.cat([packing.to_planes(codes).reshape(-1), slack])
    return PlaneCodes(flat, torch.ones(codes.shape[0]), codes.sum(1, dtype=torch.int32))


@pytest.mark.parametrize(("name", "shape"), GRID)
def test_the_sums_equal_the_int64_reference(name: str, shape: tuple[int, int, int], rng: torch.Generator) -> None:
    m, n, k = shape
    made, x = layer(n, k, rng), activations(m, k, rng)
    assert torch.equal(sums(quantize(x), made.packed, PLANS[name]), int64_sums(x, made.weights))


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("weight", [-1, 0, 1])
@pytest.mark.parametrize("code", [-128, 127])
def test_extreme_values_are_summed_exactly(name: str, weight: int, code: int) -> None:
    weights = torch.full((16, 512), weight, dtype=torch.int8)
    codes = torch.full((2, 512), code, dtype=torch.int8)
    got = sums(held_codes(codes), packing.pack(weights), PLANS[name])
    assert torch.equal(got, torch.full((2, 16), 512 * weight * code, dtype=torch.int32))


@pytest.mark.parametrize("name", PLANS)
def test_alternating_extremes_do_not_cancel_by_accident(name: str, rng: torch.Generator) -> None:
    signs = torch.randint(0, 2, (3, 256), generator=rng) * 2 - 1
    weights = torch.cat([signs, -signs]).to(torch.int8)
    codes = torch.where(signs[:1] > 0, 127, -128).to(torch.int8)
    expected = (codes.long() @ weights.long().T).to(torch.int32)
    assert torch.equal(sums(held_codes(codes), packing.pack(weights), PLANS[name]), expected)


def test_all_kernels_give_the_same_bits(rng: torch.Generator) -> None:
    made, x = layer(70, 300, rng), activations(3, 300, rng)
    expected = reference.linear(x, made.weights, made.scale)
    codes = quantize(x)
    for plan in PLANS.values():
        assert torch.equal(multiply(codes, made.packed, made.scale, torch.bfloat16, plan), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", PLANS)
def test_the_output_is_rounded_as_defined(name: str, dtype: torch.dtype, rng: torch.Generator) -> None:
    made, x = layer(40, 200, rng), activations(2, 200, rng, dtype)
    y = multiply(quantize(x), made.packed, made.scale, dtype, PLANS[name])
    assert torch.equal(y, reference.linear(x, made.weights, made.scale))


@pytest.mark.parametrize("name", TILED)
def test_a_row_of_a_batch_equals_the_row_alone(name: str, rng: torch.Generator) -> None:
    made, x = layer(40, 260, rng), activations(19, 260, rng)
    batch = multiply(quantize(x), made.packed, made.scale, torch.bfloat16, PLANS[name])
    for row in (0, 7, 18):
        alone = multiply(quantize(x[row : row + 1]), made.packed, made.scale, torch.bfloat16, PLANS["gemv"])
        assert torch.equal(batch[row : row + 1], alone)


def test_the_number_of_splits_does_not_change_a_bit(rng: torch.Generator) -> None:
    made, x = layer(20, 640, rng), activations(5, 640, rng)
    codes = quantize(x)
    results = []
    for splits in (1, 2, 5):
        plan = Plan(PLANS["split"].kernel, {**PLANS["split"].tile, "SPLITS": splits}, 4, 2)
        results.append(multiply(codes, made.packed, made.scale, torch.float32, plan))
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


def test_more_splits_than_steps_leave_empty_shares_that_add_nothing(rng: torch.Generator) -> None:
    made, x = layer(20, 128, rng), activations(5, 128, rng)
    plan = Plan(PLANS["split"].kernel, {**PLANS["split"].tile, "SPLITS": 4}, 4, 2)
    assert torch.equal(sums(quantize(x), made.packed, plan), int64_sums(x, made.weights))


@pytest.mark.parametrize("name", PLANS)
def test_an_empty_batch_gives_an_empty_result(name: str, rng: torch.Generator) -> None:
    made = layer(20, 128, rng)
    y = multiply(quantize(torch.empty(0, 128)), made.packed, made.scale, torch.float32, PLANS[name])
    assert y.shape == (0, 20)


@pytest.mark.parametrize("name", PLANS)
def test_inputs_are_left_unchanged_and_two_runs_agree(name: str, rng: torch.Generator) -> None:
    made, x = layer(40, 200, rng), activations(2, 200, rng)
    codes = quantize(x)
    held = [tensor.clone() for tensor in (x, made.packed, made.scale, *codes)]
    first, second = (multiply(codes, made.packed, made.scale, torch.bfloat16, PLANS[name]) for _ in range(2))
    assert torch.equal(first, second)
    inputs = (x, made.packed, made.scale, *codes)
    assert all(torch.equal(now, then) for now, then in zip(inputs, held, strict=True))


def test_a_row_that_is_no_number_does_not_touch_its_neighbours(rng: torch.Generator) -> None:
    made, x = layer(20, 128, rng), activations(3, 128, rng)
    clean = launch.linear(x, made.packed, made.scale, 128, None, None)
    x[1, 3] = float("nan")
    y = launch.linear(x, made.packed, made.scale, 128, None, None)
    assert y[1].isnan().all() and torch.equal(y[[0, 2]], clean[[0, 2]])


@pytest.mark.parametrize("name", PLANS)
def test_packed_weights_that_are_not_contiguous_are_refused(name: str, rng: torch.Generator) -> None:
    made = layer(20, 256, rng)
    with pytest.raises(packing.PackingError, match="contiguous"):
        multiply(quantize(activations(1, 128, rng)), made.packed[:, :32], made.scale, torch.float32, PLANS[name])


@pytest.mark.parametrize("name", PLANS)
def test_scales_that_are_not_contiguous_are_read_as_they_are(name: str, rng: torch.Generator) -> None:
    made, codes = layer(20, 128, rng), quantize(activations(2, 128, rng))
    strided = torch.stack([made.scale, torch.full_like(made.scale, 99.0)], dim=1)[:, 0]
    expected = multiply(codes, made.packed, made.scale, torch.float32, PLANS[name])
    assert torch.equal(multiply(codes, made.packed, strided, torch.float32, PLANS[name]), expected)
    same = torch.tensor([0.5]).expand(20)
    expected = multiply(codes, made.packed, same.clone(), torch.float32, PLANS[name])
    assert torch.equal(multiply(codes, made.packed, same, torch.float32, PLANS[name]), expected)


@pytest.mark.parametrize("name", PLANS)
def test_what_a_kernel_would_read_beyond_its_end_is_refused(name: str, rng: torch.Generator) -> None:
    made, codes = layer(20, 256, rng), quantize(activations(2, 128, rng))
    with pytest.raises(packing.PackingError, match="not 2 rows for weights of 64 bytes"):
        multiply(codes, made.packed, made.scale, torch.float32, PLANS[name])
    codes = quantize(activations(2, 256, rng))
    with pytest.raises(packing.PackingError, match="weight_scale: expected"):
        multiply(codes, made.packed, made.scale[:1], torch.float32, PLANS[name])
    if name.startswith("prefill"):
        with pytest.raises(packing.PackingError, match="resident copy"):
            multiply(codes, made.packed, None, torch.int32, PLANS[name], launch.resident(made.packed[:4]))


@pytest.mark.parametrize("name", PLANS)
def test_one_wrong_weight_is_noticed(name: str, rng: torch.Generator) -> None:
    made = layer(20, 128, rng)
    codes = torch.ones(1, 128, dtype=torch.int8)
    wrong = made.packed.clone()
    wrong[7, 11] ^= 0b01_00_00
    right = Layer(made.weights, made.packed, made.scale)
    difference = sums(held_codes(codes), wrong, PLANS[name]) != sums(held_codes(codes), right.packed, PLANS[name])
    assert difference.nonzero().tolist() == [[0, 7]]


def test_the_resident_copy_holds_the_weights_in_plane_order(rng: torch.Generator) -> None:
    made = layer(9, 300, rng)
    copy = launch.resident(made.packed)
    assert torch.equal(packing.from_planes(copy.view(9, 4, -1), 300), made.weights)
    codes = quantize(activations(6, 300, rng))
    for name in ("prefill", "prefill_tma"):
        y = multiply(codes, made.packed, None, torch.int32, PLANS[name], copy)
        assert torch.equal(y, sums(codes, made.packed, PLANS[name]))

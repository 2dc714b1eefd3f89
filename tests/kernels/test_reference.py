"""The golden definition against independent statements of the same arithmetic."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from ternary_kernels import cpu, reference

from tests.kernels.layers import activations, layer

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def huggingface_codes(x: torch.Tensor) -> torch.Tensor:
    """`ActQuant` of Transformers: 127 / absmax, multiply, round, clamp."""
    values = x.float()
    scale = 127 / values.abs().max(dim=-1, keepdim=True).values.clamp_(min=1e-5)
    return (values * scale).round().clamp(-128, 127)


@pytest.mark.parametrize("dtype", DTYPES)
def test_codes_equal_those_of_transformers(dtype: torch.dtype, rng: torch.Generator) -> None:
    x = activations(64, 999, rng, dtype)
    assert torch.equal(reference.quantize(x).codes.float(), huggingface_codes(x))


def test_halves_round_to_even() -> None:
    x = torch.tensor([[127.0, 0.5, 1.5, 2.5, -0.5, -1.5]])
    assert reference.quantize(x).codes.tolist() == [[127, 0, 2, 2, 0, -2]]


def test_a_zero_row_gives_zeros_and_the_smallest_scale() -> None:
    quantized = reference.quantize(torch.zeros(1, 8))
    assert quantized.codes.count_nonzero() == 0
    assert quantized.token_scale.item() == (torch.tensor(1e-5) / torch.tensor(127.0)).item()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_row_with_a_value_that_is_no_number_is_nan_as_a_whole_and_alone(
    bad: float, rng: torch.Generator
) -> None:
    made, x = layer(5, 40, rng), activations(3, 40, rng)
    clean = reference.linear(x, made.weights, made.scale)
    x[1, 7] = bad
    y = reference.linear(x, made.weights, made.scale)
    assert y[1].isnan().all()
    assert torch.equal(y[[0, 2]], clean[[0, 2]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_epilogue_multiplies_left_to_right_and_rounds_once(dtype: torch.dtype, rng: torch.Generator) -> None:
    made, x = layer(7, 130, rng), activations(4, 130, rng, dtype)
    quantized = reference.quantize(x)
    y = reference.linear(x, made.weights, made.scale)
    for m in range(4):
        for n in range(7):
            acc = sum(int(q) * int(w) for q, w in zip(quantized.codes[m], made.weights[n], strict=True))
            first = torch.tensor(float(acc)) * quantized.token_scale[m]
            assert y[m, n] == (first * made.scale[n]).to(dtype)


def test_the_sum_that_leaves_float32_exactness_is_beyond_the_stated_k() -> None:
    assert Fraction(128 * reference.EXACT_K) <= 2**24
    assert float(torch.tensor(2.0**24) + 1) == 2.0**24


@pytest.mark.parametrize("value", [-1, 1])
@pytest.mark.parametrize("code", [-128, 127])
def test_extreme_codes_are_summed_exactly_on_the_cpu_path(value: int, code: int) -> None:
    weights = torch.full((2, 131_072), value, dtype=torch.int8)
    codes = torch.full((1, 131_072), code, dtype=torch.int8)
    quantized = reference.Quantized(codes, torch.ones(1), codes.sum(1, dtype=torch.int32))
    y = cpu.linear_quantized(quantized, weights.float(), torch.ones(2), torch.float32)
    assert y.tolist() == [[131_072.0 * value * code] * 2]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 100, 2570), (17, 33, 4032), (0, 5, 128)])
def test_the_cpu_path_equals_the_definition(
    dtype: torch.dtype, shape: tuple[int, int, int], rng: torch.Generator
) -> None:
    m, n, k = shape
    made, x = layer(n, k, rng), activations(m, k, rng, dtype)
    y = cpu.linear(x, cpu.dense(made.packed, k), made.scale)
    assert torch.equal(y, reference.linear(x, made.weights, made.scale))


def test_an_outside_maximum_replaces_the_rows_own(rng: torch.Generator) -> None:
    x = activations(4, 300, rng)
    whole = reference.quantize(x)
    left = reference.quantize(x[:, :100], reference.absmax(x))
    assert torch.equal(left.codes, whole.codes[:, :100])
    assert torch.equal(left.token_scale, whole.token_scale)


def test_dequantized_weights_give_the_weight_only_layer(rng: torch.Generator) -> None:
    made, x = layer(6, 300, rng), activations(2, 300, rng, torch.float32)
    for scale in (made.scale, torch.rand(6, 3, generator=rng)):
        expected = x.double() @ reference.dequantize(made.weights, scale).double().T
        assert torch.equal(reference.weight_only_linear(x, made.weights, scale), expected.float())


def test_one_group_per_row_is_the_layer_up_to_the_order_of_two_products(rng: torch.Generator) -> None:
    made, x = layer(6, 128, rng), activations(3, 128, rng, torch.float32)
    grouped = reference.grouped_linear(x, made.weights, made.scale[:, None])
    torch.testing.assert_close(grouped, reference.linear(x, made.weights, made.scale), rtol=3e-7, atol=0)


def test_an_unknown_gate_is_refused() -> None:
    with pytest.raises(ValueError, match="gelu"):
        reference.activate(torch.ones(1, 4), gate="gelu")

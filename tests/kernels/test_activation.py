"""The fused activation path against `reference.activate` and `reference.quantize`."""

from __future__ import annotations

import pytest
import torch
from ternary_kernels import packing, reference
from ternary_kernels.activation import MAX_K
from ternary_kernels.launch import quantize
from ternary_kernels.packing import PackingError

from tests.kernels.layers import activations

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def assert_same(x: torch.Tensor, row_absmax: torch.Tensor | None = None) -> None:
    got, expected = quantize(x, row_absmax), reference.quantize(x, row_absmax)
    assert torch.equal(got.planes(packing.packed_width(x.shape[1])), packing.to_planes(expected.codes))
    assert torch.equal(got.row_sum, expected.row_sum)
    torch.testing.assert_close(got.token_scale, expected.token_scale, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 128), (5, 130), (3, 2570), (2, 4032)])
def test_codes_scales_and_sums_equal_the_reference_bit_for_bit(
    dtype: torch.dtype, shape: tuple[int, int], rng: torch.Generator
) -> None:
    assert_same(activations(*shape, rng, dtype))


def test_ties_round_to_even_and_the_negative_end_is_kept() -> None:
    assert_same(torch.tensor([[127.0, 0.5, 1.5, 2.5, -126.5, -127.0]]))


@pytest.mark.parametrize("scale", [0.0, 1e-38, 1e-6, 1e30])
def test_tiny_and_huge_rows_equal_the_reference(scale: float, rng: torch.Generator) -> None:
    assert_same(activations(2, 200, rng, torch.float32) * scale)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_row_that_is_no_number_has_codes_zero_and_scale_nan(bad: float, rng: torch.Generator) -> None:
    x = activations(3, 200, rng)
    x[1, 150] = bad
    assert_same(x)
    assert quantize(x).token_scale.isnan().tolist() == [False, True, False]


def test_an_outside_maximum_replaces_the_rows_own(rng: torch.Generator) -> None:
    x = activations(3, 200, rng)
    assert_same(x[:, :64].contiguous(), reference.absmax(x))


@pytest.mark.parametrize("view", ["columns", "transposed", "every second row"])
def test_activations_that_are_not_contiguous_are_read_right(view: str, rng: torch.Generator) -> None:
    base = activations(8, 300, rng)
    views = {"columns": base[:, 20:220], "transposed": base.T, "every second row": base[::2]}
    assert not views[view].is_contiguous()
    assert_same(views[view])


def test_an_empty_batch_is_quantized_to_nothing() -> None:
    got = quantize(torch.empty(0, 64))
    assert got.token_scale.shape == (0,) and got.row_sum.shape == (0,)


def test_a_row_too_long_for_one_program_is_refused() -> None:
    with pytest.raises(packing.PackingError, match=str(MAX_K + 1)):
        quantize(torch.zeros(1, MAX_K + 1))


@pytest.mark.parametrize("gate", ["none", "relu2", "silu"])
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gate_and_norm_agree_with_the_unfused_layers(
    gate: str, norm: bool, dtype: torch.dtype, rng: torch.Generator
) -> None:
    """Codes may differ by one where a float32 sum or exponential rounds another way; the scale by as little."""
    x, up = activations(3, 330, rng, dtype), activations(3, 330, rng, dtype)
    weight = (torch.rand(330, generator=rng) + 0.5).to(dtype) if norm else None
    fused = {"gate": gate, "up": None if gate == "none" else up, "norm_weight": weight}
    got = quantize(x, **fused, eps=1e-6)  # type: ignore[arg-type]
    expected = reference.quantize(reference.activate(x, **fused, eps=1e-6))  # type: ignore[arg-type]
    codes = packing.from_planes(got.planes(packing.packed_width(330)), 330)
    difference = (codes.int() - expected.codes.int()).abs()
    assert difference.max() <= 1 and difference.float().mean() < 0.01
    torch.testing.assert_close(got.token_scale, expected.token_scale, rtol=1e-2, atol=0)
    assert torch.equal(got.row_sum, codes.sum(1, dtype=torch.int32))


def test_relu_squared_gating_is_exact(rng: torch.Generator) -> None:
    x, up = activations(3, 330, rng), activations(3, 330, rng)
    got = quantize(x, gate="relu2", up=up)
    expected = reference.quantize(reference.activate(x, "relu2", up))
    assert torch.equal(packing.from_planes(got.planes(96), 330), expected.codes)
    assert torch.equal(got.token_scale, expected.token_scale)


def test_a_gate_in_one_merged_tensor_needs_no_copy(rng: torch.Generator) -> None:
    merged = activations(3, 512, rng)
    x, up = merged.chunk(2, dim=1)
    got = quantize(x, gate="relu2", up=up)
    apart = quantize(x.contiguous(), gate="relu2", up=up.contiguous())
    assert all(torch.equal(a, b) for a, b in zip(got, apart, strict=True))


def test_inputs_are_left_unchanged(rng: torch.Generator) -> None:
    x, up, weight = activations(2, 130, rng), activations(2, 130, rng), torch.ones(130, dtype=torch.bfloat16)
    held = [x.clone(), up.clone(), weight.clone()]
    quantize(x, gate="relu2", up=up, norm_weight=weight, eps=1e-5)
    assert all(torch.equal(now, then) for now, then in zip((x, up, weight), held, strict=True))


@pytest.mark.parametrize("name", ["up", "norm_weight", "row_absmax"])
def test_what_stands_beside_the_activations_must_fit_them(name: str, rng: torch.Generator) -> None:
    x, wrong = activations(2, 130, rng), torch.ones(1)
    with pytest.raises(PackingError, match=rf"{name}: expected the shape"):
        quantize(x, **{name: wrong})

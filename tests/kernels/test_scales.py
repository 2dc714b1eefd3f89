from __future__ import annotations

import pytest
import torch
from ternary_kernels.packing import PackingError
from ternary_kernels.scales import ScaleConvention, convention_of, expand_rows, multiplicative


@pytest.mark.parametrize(
    ("config", "convention"),
    [
        ({"quant_method": "bitnet", "linear_class": "autobitlinear"}, ScaleConvention.MULTIPLY),
        ({"quant_method": "bitnet", "linear_class": "bitlinear"}, ScaleConvention.DIVIDE),
        ({"quant_method": "bitnet"}, ScaleConvention.DIVIDE),
    ],
)
def test_the_convention_is_read_from_the_configuration(config: dict[str, str], convention: str) -> None:
    assert convention_of(config) is convention


@pytest.mark.parametrize("config", [{"linear_class": "mystery"}, {"quantization_mode": "online"}])
def test_an_ambiguous_configuration_is_refused(config: dict[str, str]) -> None:
    with pytest.raises(PackingError, match="quantization_config"):
        convention_of(config)


def test_both_conventions_of_a_power_of_two_give_the_same_scale() -> None:
    held = torch.tensor([0.25, 8.0], dtype=torch.bfloat16)
    divided = multiplicative(1 / held, ScaleConvention.DIVIDE)
    assert torch.equal(divided, multiplicative(held, ScaleConvention.MULTIPLY))
    assert divided.dtype == torch.float32


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("convention", ScaleConvention)
def test_a_scale_that_is_no_number_is_refused(bad: float, convention: ScaleConvention) -> None:
    with pytest.raises(PackingError, match="v_scale: a scale is NaN or infinite"):
        multiplicative(torch.tensor([1.0, bad]), convention, "v_scale")


def test_dividing_by_zero_is_refused() -> None:
    with pytest.raises(PackingError, match="zero"):
        multiplicative(torch.zeros(1), ScaleConvention.DIVIDE)


def test_each_row_gets_the_scale_of_its_shard() -> None:
    expanded = expand_rows(torch.tensor([2.0, 3.0, 5.0]), [4, 1, 1])
    assert expanded.tolist() == [2.0, 2.0, 2.0, 2.0, 3.0, 5.0]


def test_row_scales_are_kept_and_not_shared_with_the_argument() -> None:
    scale = torch.rand(6)
    expanded = expand_rows(scale, [4, 2])
    assert torch.equal(expanded, scale) and expanded.data_ptr() != scale.data_ptr()


@pytest.mark.parametrize("scale", [torch.ones(4), torch.tensor([1.0, float("nan")])])
def test_scales_that_do_not_fit_the_shards_are_refused(scale: torch.Tensor) -> None:
    with pytest.raises(PackingError, match="weight_scale"):
        expand_rows(scale, [3, 3])

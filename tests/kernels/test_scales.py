from __future__ import annotations

import pytest
import torch
from ternary_kernels.packing import PackingError
from ternary_kernels.scales import ScaleConvention, convention_of, multiplicative, per_row


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


@pytest.mark.parametrize("bad", [0.0, 1e-40])
def test_what_has_no_reciprocal_is_refused(bad: float) -> None:
    with pytest.raises(PackingError, match="nears zero cannot be divided by"):
        multiplicative(torch.tensor([bad]), ScaleConvention.DIVIDE)


def test_a_kernel_reads_no_scale_that_does_not_fit_its_weights() -> None:
    for scale in (torch.ones(1), torch.ones(5), torch.ones(6, 1), torch.ones(6, 3).T, torch.ones(6).bfloat16()):
        with pytest.raises(PackingError, match=r"weight_scale: expected float32 \(6,\) or \(6, 3\)"):
            per_row(scale, 6, 3)
    strided = per_row(torch.arange(12.0)[::2], 6, 3)
    assert strided.is_contiguous() and strided.tolist() == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]

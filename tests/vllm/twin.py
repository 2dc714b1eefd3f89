"""The dense twin: the same model in vLLM with plain float32 matrices and fake-quantized activations.

It reads an ordinary dense checkpoint with vLLM's own loader and multiplies with vLLM's own matrix product.
It shares no code with the plugin but the model class, so that packing, scales, sharding of fused layers and
the integer product are all checked against it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from vllm.model_executor.layers.linear import (
    LinearBase,
    UnquantizedLinearMethod,
    register_weight_loader_v2_supported_method,
)
from vllm.model_executor.layers.quantization import register_quantization_config
from vllm.model_executor.layers.quantization.base_config import QuantizationConfig, QuantizeMethodBase

TWIN = "dense_twin"


@register_weight_loader_v2_supported_method
class FakeQuantizedLinearMethod(UnquantizedLinearMethod):
    def apply(self, layer: torch.nn.Module, x: Tensor, bias: Tensor | None = None) -> Tensor:
        scale = 127 / x.abs().amax(dim=-1, keepdim=True).clamp(min=1e-5)
        return super().apply(layer, (x * scale).round().clamp(-128, 127) / scale, bias)


@register_quantization_config(TWIN)
class DenseTwinConfig(QuantizationConfig):
    def get_name(self) -> str:
        return TWIN

    def get_supported_act_dtypes(self) -> list[torch.dtype]:
        return [torch.float32]

    @classmethod
    def get_min_capability(cls) -> int:
        return 0

    @staticmethod
    def get_config_filenames() -> list[str]:
        return []

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DenseTwinConfig:
        return cls()

    def get_quant_method(self, layer: torch.nn.Module, prefix: str) -> QuantizeMethodBase | None:
        return FakeQuantizedLinearMethod() if isinstance(layer, LinearBase) else None

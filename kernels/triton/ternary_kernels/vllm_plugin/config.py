"""The quantization method "ternary" as vLLM sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from vllm.model_executor.layers.linear import LinearBase, UnquantizedLinearMethod
from vllm.model_executor.layers.quantization import register_quantization_config
from vllm.model_executor.layers.quantization.base_config import QuantizationConfig, QuantizeMethodBase
from vllm.model_executor.layers.quantization.utils.quant_utils import is_layer_skipped
from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

from ternary_kernels.checkpoint import CheckpointFormat, Layout, format_of
from ternary_kernels.vllm_plugin import QUANTIZATION
from ternary_kernels.vllm_plugin.int8_head import Int8HeadMethod
from ternary_kernels.vllm_plugin.linear_method import TernaryLinearMethod
from ternary_kernels.vllm_plugin.options import current_options

CLAIMED = ("bitnet", QUANTIZATION)


@register_quantization_config(QUANTIZATION)
class TernaryConfig(QuantizationConfig):
    """BitNet checkpoints by their own configuration; without one (`--quantization ternary`) unpacked
    ternary weights."""

    def __init__(
        self,
        checkpoint: CheckpointFormat = CheckpointFormat(Layout.UNPACKED),
        not_converted: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.checkpoint = checkpoint
        self.not_converted = not_converted

    def get_name(self) -> str:
        return QUANTIZATION

    def get_supported_act_dtypes(self) -> list[torch.dtype]:
        return [torch.float32, torch.bfloat16, torch.float16]

    @classmethod
    def get_min_capability(cls) -> int:
        return 80

    @staticmethod
    def get_config_filenames() -> list[str]:
        return []

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TernaryConfig:
        return cls(format_of(config), tuple(config.get("modules_to_not_convert") or ()))

    @classmethod
    def override_quantization_method(
        cls, hf_quant_cfg: Mapping[str, Any], user_quant: str | None, hf_config: Any = None
    ) -> str | None:
        """Claims BitNet checkpoints, unless the user asks for another method by name."""
        wanted = user_quant in (None, *CLAIMED)
        return QUANTIZATION if wanted and hf_quant_cfg.get("quant_method") in CLAIMED else None

    def get_quant_method(self, layer: torch.nn.Module, prefix: str) -> QuantizeMethodBase | None:
        if isinstance(layer, ParallelLMHead):
            return Int8HeadMethod() if current_options().int8_head else None
        if not isinstance(layer, LinearBase):
            return None
        skipped = list(self.not_converted)
        if is_layer_skipped(prefix, skipped, self.packed_modules_mapping, match_mode="suffix"):
            return UnquantizedLinearMethod()
        return TernaryLinearMethod(self.checkpoint, current_options())

"""The optional int8 output head. For a 2B model the bf16 head is read more slowly than all ternary layers
together.

The weight gets one scale per row, the hidden state one per token, both by absmax / 127; the product is
exact in int32 and the logits are (acc * token scale) * row scale in float32. It changes the logits, so it
is off unless asked for. A tied embedding keeps its float weights for the look-up; the head holds the int8
copy only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from vllm.model_executor.layers.quantization.base_config import QuantizeMethodBase
from vllm.model_executor.layers.vocab_parallel_embedding import UnquantizedEmbeddingMethod

from ternary_kernels import reference

MIN_ROWS_CUDA = 32  # torch._int_mm refuses fewer than 17 rows on CUDA


class Int8HeadMethod(QuantizeMethodBase):
    """Loads like an unquantized head; multiplies in int8."""

    def create_weights(self, layer: torch.nn.Module, *weight_args: Any, **extra_weight_attrs: Any) -> None:
        UnquantizedEmbeddingMethod().create_weights(layer, *weight_args, **extra_weight_attrs)

    def process_weights_after_loading(self, layer: torch.nn.Module) -> None:
        quantized = reference.quantize(layer.weight.data)
        layer.weight = torch.nn.Parameter(quantized.codes, requires_grad=False)
        layer.weight_scale = torch.nn.Parameter(quantized.token_scale, requires_grad=False)

    def apply(self, layer: torch.nn.Module, x: Tensor, bias: Tensor | None = None) -> Tensor:
        codes, token_scale, _ = reference.quantize(x.reshape(-1, x.shape[-1]))
        tokens = codes.shape[0]
        if codes.is_cuda and tokens < MIN_ROWS_CUDA:
            codes = pad(codes, (0, 0, 0, MIN_ROWS_CUDA - tokens))
        acc = torch._int_mm(codes, layer.weight.t())[:tokens]
        logits = reference.finish(acc, token_scale, layer.weight_scale, x.dtype)
        logits = logits.reshape(*x.shape[:-1], logits.shape[-1])
        return logits if bias is None else logits + bias

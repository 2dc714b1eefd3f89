"""The ternary linear layer inside vLLM.

Column parallel (qkv, gate_up): each rank holds rows of the weight and sees the whole activation: exact as
it is.

Row parallel (o, down): each rank sees a slice of the activation. Two collectives make the result equal to
one device, bit for bit: the maximum of |x| per token over the ranks before quantizing, and the sum of the
integer accumulators over the ranks before the float epilogue. The sum travels as float32, which is exact
(|acc| <= 128 K <= 2**24) and which every vLLM communicator supports. The layer's own reduction is switched
off. With scales per group of 128 the partial sums are floats already; they are added by the layer's own
reduction and may differ from one device in the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from vllm.distributed import tensor_model_parallel_all_gather, tensor_model_parallel_all_reduce
from vllm.model_executor.layers.linear import (
    LinearMethodBase,
    RowParallelLinear,
    register_weight_loader_v2_supported_method,
)

from ternary_kernels import cpu, ops, reference
from ternary_kernels.checkpoint import CheckpointFormat
from ternary_kernels.packing import BLOCK, PackingError
from ternary_kernels.vllm_plugin.options import TernaryOptions
from ternary_kernels.vllm_plugin.parameters import UNLOADED_BYTE, RowScaleParameter, TernaryWeightParameter
from ternary_kernels.vllm_plugin.warm_up import Layer, warm_up


@register_weight_loader_v2_supported_method
class TernaryLinearMethod(LinearMethodBase):
    """Creates, loads and multiplies 2-bit weights. One instance per layer."""

    def __init__(self, checkpoint: CheckpointFormat, options: TernaryOptions) -> None:
        self.checkpoint = checkpoint
        self.options = options
        self.columns = 0
        self.dtype = torch.float32
        self.is_dense = False
        self.sums_over_ranks = False

    def create_weights(
        self,
        layer: torch.nn.Module,
        input_size_per_partition: int,
        output_partition_sizes: list[int],
        input_size: int,
        output_size: int,
        params_dtype: torch.dtype,
        **extra_weight_attrs: Any,
    ) -> None:
        columns, rows = input_size_per_partition, sum(output_partition_sizes)
        grouped = self.checkpoint.grouped
        if grouped and columns != input_size and columns % BLOCK:
            raise PackingError(f"{layer.prefix}: {columns} columns per rank cut a scale group of {BLOCK} in two")
        loader = _loader_of(layer, extra_weight_attrs["weight_loader"])
        scale = RowScaleParameter(
            rows=rows,
            columns=columns,
            grouped=grouped,
            tensor_name=f"{layer.prefix}.weight_scale",
            checkpoint=self.checkpoint,
            weight_loader=loader,
        )
        weight = TernaryWeightParameter(
            rows=rows,
            columns=columns,
            tensor_name=f"{layer.prefix}.weight",
            checkpoint=self.checkpoint,
            scale=scale,
            weight_loader=loader,
        )
        layer.register_parameter("weight", weight)
        layer.register_parameter("weight_scale", scale)
        self.columns, self.dtype = columns, params_dtype
        self._take_over_reduction(layer, split=columns != input_size)

    def _take_over_reduction(self, layer: torch.nn.Module, split: bool) -> None:
        """A row-parallel layer that would sum its outputs sums integer accumulators here instead."""
        if not isinstance(layer, RowParallelLinear) or not split:
            return
        if layer.reduce_results and not self.checkpoint.grouped:
            self.sums_over_ranks = True
            layer.reduce_results = False

    def process_weights_after_loading(self, layer: torch.nn.Module) -> None:
        """Refuses what no checkpoint tensor filled; then the device's own form of the weights."""
        if bool((layer.weight == UNLOADED_BYTE).any()):
            raise PackingError(f"{layer.prefix}.weight: the checkpoint does not hold all of it")
        if bool(torch.isnan(layer.weight_scale).any()):
            raise PackingError(f"{layer.prefix}.weight_scale: the checkpoint does not hold all of it")
        packed, scale = layer.weight.data.contiguous(), layer.weight_scale.data.contiguous()
        self.is_dense = not packed.is_cuda and self.options.unpack_once
        layer.weight = _frozen(cpu.dense(packed, self.columns, layer.prefix) if self.is_dense else packed)
        layer.weight_scale = _frozen(scale)
        keep_resident = packed.is_cuda and self.options.resident_int8
        layer.register_buffer("resident", ops.resident(packed) if keep_resident else None, persistent=False)
        if packed.is_cuda:
            kind = Layer(tuple(scale.shape), self.columns, self.dtype, self.sums_over_ranks)
            warm_up(kind, self.options.most_tokens, packed.device)

    def apply(self, layer: torch.nn.Module, x: Tensor, bias: Tensor | None = None) -> Tensor:
        split = isinstance(layer, RowParallelLinear) and layer.tp_size > 1
        row_absmax = _absmax_over_ranks(x) if split else None
        if self.sums_over_ranks:
            y = self._sum_over_ranks(layer, x, row_absmax)
            # Every rank finishes the whole sum, so every rank adds the bias that vLLM gives to the first alone.
            bias = None if layer.skip_bias_add else layer.bias
        elif self.is_dense:
            y = ops.linear_dense(x, layer.weight, layer.weight_scale, row_absmax)
        else:
            y = ops.linear(x, layer.weight, layer.weight_scale, self.columns, row_absmax, layer.resident)
        return y if bias is None else y + bias

    def takes_whole_rows(self, layer: torch.nn.Module) -> bool:
        """Whether `apply_activated` may be used: 2-bit weights, and nothing split over ranks."""
        return not self.is_dense and layer.tp_size == 1

    def apply_activated(
        self,
        layer: torch.nn.Module,
        x: Tensor,
        gate: str,
        up: Tensor | None,
        norm_weight: Tensor,
        eps: float,
    ) -> Tensor:
        """The layer of norm(gate(x, up)), x [M, K]: the activation path in one launch, then the product."""
        codes, token_scale, row_sum = ops.quantize(x, up, norm_weight, None, gate, eps)
        packed, scale, resident = layer.weight, layer.weight_scale, layer.resident
        y = ops.linear_quantized(codes, token_scale, row_sum, packed, scale, self.columns, x.dtype, resident)
        return y if layer.bias is None else y + layer.bias

    def _sum_over_ranks(self, layer: torch.nn.Module, x: Tensor, row_absmax: Tensor | None) -> Tensor:
        if self.is_dense:
            acc, token_scale = ops.accumulate_dense(x, layer.weight, row_absmax)
        else:
            acc, token_scale = ops.accumulate(x, layer.weight, self.columns, row_absmax)
        total = tensor_model_parallel_all_reduce(acc.to(torch.float32)).to(torch.int32)
        y = ops.finish(total, token_scale, layer.weight_scale, x.dtype)
        return y.reshape(*x.shape[:-1], y.shape[-1])


def _frozen(tensor: Tensor) -> torch.nn.Parameter:
    """A parameter, not a plain attribute: that is what vLLM's compilation, offloading and device moves follow."""
    return torch.nn.Parameter(tensor, requires_grad=False)


def _absmax_over_ranks(x: Tensor) -> Tensor:
    """max |x| per token over all ranks' slices: float32 [M]."""
    local = reference.absmax(x.reshape(-1, x.shape[-1]))
    return tensor_model_parallel_all_gather(local[:, None]).amax(dim=-1)


def _loader_of(layer: torch.nn.Module, given: Callable[..., None]) -> Callable[..., None]:
    """vLLM's second-generation loader, or for a layer without one (replicated) a plain load of the whole
    tensor."""
    return given if hasattr(layer, "weight_loader_v2") else _load_whole


def _load_whole(param: RowScaleParameter | TernaryWeightParameter, loaded_weight: Tensor) -> None:
    param.tp_rank, param.tp_size = 0, 1
    param.load_column_parallel_weight(loaded_weight)

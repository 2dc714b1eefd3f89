"""BitNetForCausalLM for vLLM: Llama with sub-norms before o_proj and down_proj, and relu² (or silu) gating.

    h += o_proj(attn_sub_norm(attention(qkv_proj(input_layernorm(h)))))
    h += down_proj(ffn_sub_norm(act(gate) * up)),  gate | up = gate_up_proj(post_attention_layernorm(h))

Covers microsoft/bitnet-b1.58-2B-4T and its kin (relu²), and the 1bitLLM masters (silu, other names for the
sub-norms).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from vllm.config import VllmConfig
from vllm.distributed import (
    divide,
    get_tensor_model_parallel_world_size,
    tensor_model_parallel_all_reduce,
)
from vllm.model_executor.layers.layernorm import RMSNorm
from vllm.model_executor.layers.linear import MergedColumnParallelLinear, RowParallelLinear
from vllm.model_executor.layers.quantization import QuantizationConfig
from vllm.model_executor.model_loader.weight_utils import sharded_weight_loader
from vllm.model_executor.models.llama import LlamaAttention, LlamaForCausalLM, LlamaModel
from vllm.model_executor.models.utils import WeightsMapper
from vllm.model_executor.utils import set_weight_attrs

from ternary_kernels import reference
from ternary_kernels.vllm_plugin.linear_method import TernaryLinearMethod

GATES = ("relu2", "silu")


class SubNorm(nn.Module):
    """RMSNorm over a dimension that is split over the ranks, whose sums of squares are added first."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.size = size
        self.eps = eps
        self.ranks = get_tensor_model_parallel_world_size()
        self.weight = nn.Parameter(torch.full((divide(size, self.ranks),), float("nan")), requires_grad=False)
        set_weight_attrs(self.weight, {"weight_loader": sharded_weight_loader(0)})

    def forward(self, x: Tensor) -> Tensor:
        """x [..., size / ranks] -> the same shape and dtype; the mean square is taken in float32."""
        values = x.to(torch.float32)
        if self.ranks == 1:
            mean_square = values.pow(2).mean(dim=-1, keepdim=True)
        else:
            squares = values.pow(2).sum(dim=-1, keepdim=True)
            mean_square = tensor_model_parallel_all_reduce(squares) / self.size
        return self.weight * (values * torch.rsqrt(mean_square + self.eps)).to(x.dtype)


def project(
    linear: RowParallelLinear, norm: SubNorm, x: Tensor, gate: str = "none", up: Tensor | None = None
) -> Tensor:
    """linear(norm(gate(x, up))); all but the product in one launch where the whole row is on this rank."""
    method = linear.quant_method
    if isinstance(method, TernaryLinearMethod) and method.takes_whole_rows(linear):
        return method.apply_activated(linear, x, gate, up, norm.weight, norm.eps)
    return linear(norm(reference.activate(x, gate, up)))[0]


class BitNetMLP(nn.Module):
    def __init__(self, config: Any, quant_config: QuantizationConfig | None, prefix: str) -> None:
        super().__init__()
        if config.hidden_act not in GATES:
            raise ValueError(f"hidden_act {config.hidden_act!r} is none of {GATES}")
        self.gate = config.hidden_act
        self.gate_up_proj = MergedColumnParallelLinear(
            config.hidden_size,
            [config.intermediate_size] * 2,
            bias=False,
            quant_config=quant_config,
            prefix=f"{prefix}.gate_up_proj",
        )
        self.ffn_sub_norm = SubNorm(config.intermediate_size, config.rms_norm_eps)
        self.down_proj = RowParallelLinear(
            config.intermediate_size,
            config.hidden_size,
            bias=False,
            quant_config=quant_config,
            prefix=f"{prefix}.down_proj",
        )

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up_proj(x)[0].chunk(2, dim=-1)
        return project(self.down_proj, self.ffn_sub_norm, gate, self.gate, up)


class BitNetAttention(LlamaAttention):
    def __init__(self, config: Any, eps: float, **kwargs: Any) -> None:
        super().__init__(config=config, **kwargs)
        self.attn_sub_norm = SubNorm(self.total_num_heads * self.head_dim, eps)

    def forward(self, positions: Tensor, hidden_states: Tensor) -> Tensor:
        qkv, _ = self.qkv_proj(hidden_states)
        q, k, v = qkv.split([self.q_size, self.kv_size, self.kv_size], dim=-1)
        q, k = self.rotary_emb(positions, q, k)
        return project(self.o_proj, self.attn_sub_norm, self.attn(q, k, v))


class BitNetDecoderLayer(nn.Module):
    def __init__(self, vllm_config: VllmConfig, prefix: str = "", config: Any = None) -> None:
        super().__init__()
        config = config or vllm_config.model_config.hf_config
        self.self_attn = BitNetAttention(
            config=config,
            eps=config.rms_norm_eps,
            hidden_size=config.hidden_size,
            num_heads=config.num_attention_heads,
            num_kv_heads=config.num_key_value_heads,
            max_position_embeddings=config.max_position_embeddings,
            quant_config=vllm_config.quant_config,
            bias=getattr(config, "attention_bias", False),
            bias_o_proj=getattr(config, "attention_bias", False),
            cache_config=vllm_config.cache_config,
            prefix=f"{prefix}.self_attn",
        )
        self.mlp = BitNetMLP(config, vllm_config.quant_config, prefix=f"{prefix}.mlp")
        self.input_layernorm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def forward(self, positions: Tensor, hidden_states: Tensor, residual: Tensor | None) -> tuple[Tensor, Tensor]:
        if residual is None:
            residual = hidden_states
            hidden_states = self.input_layernorm(hidden_states)
        else:
            hidden_states, residual = self.input_layernorm(hidden_states, residual)
        hidden_states = self.self_attn(positions=positions, hidden_states=hidden_states)
        hidden_states, residual = self.post_attention_layernorm(hidden_states, residual)
        return self.mlp(hidden_states), residual


class BitNetModel(LlamaModel):
    hf_to_vllm_mapper = LlamaModel.hf_to_vllm_mapper | WeightsMapper(
        orig_to_new_substr={".inner_attn_ln.": ".attn_sub_norm.", ".ffn_layernorm.": ".ffn_sub_norm."}
    )


class BitNetForCausalLM(LlamaForCausalLM):
    """The model class that vLLM's registry names for BitNet checkpoints."""

    hf_to_vllm_mapper = BitNetModel.hf_to_vllm_mapper

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix, layer_type=BitNetDecoderLayer)

    def _init_model(
        self, vllm_config: VllmConfig, prefix: str = "", layer_type: type[nn.Module] = BitNetDecoderLayer
    ) -> BitNetModel:
        return BitNetModel(vllm_config=vllm_config, prefix=prefix, layer_type=layer_type)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Loads, then refuses a checkpoint without a sub-norm: it would be another model."""
        loaded: set[str] = super().load_weights(weights)
        for name, module in self.named_modules():
            if isinstance(module, SubNorm) and bool(torch.isnan(module.weight).any()):
                raise ValueError(f"{name}.weight: not in the checkpoint, or NaN")
        return loaded

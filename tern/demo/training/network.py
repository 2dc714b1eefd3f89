# mypy: disable-error-code="misc"
"""A BitNet b1.58 decoder in torch, trained with quantised weights and activations (straight-through).

The layer order and the parameter names are those of `BitNetForCausalLM`: sub-norms before `o_proj` and
`down_proj`, squared ReLU, rotary positions, tied embeddings. Source: "The Era of 1-bit LLMs" and the model
card of microsoft/bitnet-b1.58-2B-4T.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Shape:
    vocab_size: int = 1024
    hidden_size: int = 256
    intermediate_size: int = 768
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    max_position_embeddings: int = 2048
    rope_theta: float = 10_000.0
    rms_norm_eps: float = 1e-5

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads


def weight_scale(weight: Tensor) -> Tensor:
    """mean|W|, rounded to bf16 because the checkpoint stores it so."""
    return weight.abs().mean().clamp(min=1e-5).to(torch.bfloat16).to(torch.float32)


def ternary_codes(weight: Tensor) -> Tensor:
    """round(W / mean|W|) clipped to -1, 0, +1 (absmean quantisation)."""
    return (weight / weight_scale(weight)).round().clamp(-1, 1)


def quantise_activations(x: Tensor) -> Tensor:
    """Per-token absmax int8, dequantised again; the gradient passes straight through."""
    absmax = x.detach().abs().amax(dim=-1, keepdim=True).clamp(min=1e-5)
    quantised = (x.detach() * (127.0 / absmax)).round().clamp(-128, 127) * (absmax / 127.0)
    return x + (quantised - x.detach())


class BitLinear(nn.Linear):
    """A linear map without bias; its input comes already quantised, so that q, k and v share the work."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, bias=False)
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        ternary = ternary_codes(self.weight.detach()) * weight_scale(self.weight.detach())
        return functional.linear(x, self.weight + (ternary - self.weight.detach()))


class Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        key_value_size = shape.num_key_value_heads * shape.head_dim
        self.q_proj = BitLinear(shape.hidden_size, shape.hidden_size)
        self.k_proj = BitLinear(shape.hidden_size, key_value_size)
        self.v_proj = BitLinear(shape.hidden_size, key_value_size)
        self.o_proj = BitLinear(shape.hidden_size, shape.hidden_size)
        self.attn_sub_norm = nn.RMSNorm(shape.hidden_size, shape.rms_norm_eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = quantise_activations(x)
        query, key, value = (self._heads(linear(x)) for linear in (self.q_proj, self.k_proj, self.v_proj))
        query, key = rotate(query, cos, sin), rotate(key, cos, sin)
        value = value.to(query.dtype)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
        merged = mixed.transpose(1, 2).flatten(2).float()
        return self.o_proj(quantise_activations(self.attn_sub_norm(merged)))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.shape.head_dim)).transpose(1, 2)


class FeedForward(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = BitLinear(shape.hidden_size, shape.intermediate_size)
        self.up_proj = BitLinear(shape.hidden_size, shape.intermediate_size)
        self.down_proj = BitLinear(shape.intermediate_size, shape.hidden_size)
        self.ffn_sub_norm = nn.RMSNorm(shape.intermediate_size, shape.rms_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        x = quantise_activations(x)
        gated = functional.relu(self.gate_proj(x)).square() * self.up_proj(x)
        return self.down_proj(quantise_activations(self.ffn_sub_norm(gated.float())))


class Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.self_attn = Attention(shape)
        self.mlp = FeedForward(shape)
        self.input_layernorm = nn.RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.post_attention_layernorm = nn.RMSNorm(shape.hidden_size, shape.rms_norm_eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class BitNet(nn.Module):
    """Token ids [batch, time] -> logits [batch, time, vocab]; the embedding is also the output head."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.num_hidden_layers))
        self.norm = nn.RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        nn.init.normal_(self.embed_tokens.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        cos, sin = rotary_tables(self.shape, tokens.shape[1])
        x = self.embed_tokens(tokens)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return functional.linear(self.norm(x), self.embed_tokens.weight)


def rotary_tables(shape: Shape, length: int) -> tuple[Tensor, Tensor]:
    """cos and sin [length, head_dim], the two halves of the head rotated against each other."""
    exponents = torch.arange(0, shape.head_dim, 2, dtype=torch.float32) / shape.head_dim
    angles = torch.outer(torch.arange(length, dtype=torch.float32), shape.rope_theta**-exponents)
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return (x * cos + torch.cat((-second, first), dim=-1) * sin).to(x.dtype)

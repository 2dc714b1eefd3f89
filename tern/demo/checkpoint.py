"""Reads a BitNet checkpoint (Hugging Face layout) into float32 arrays that are ready to multiply.

A ternary weight is unpacked once at load: numpy has no 2-bit product, and unpacking at every step costs more
than the memory it saves. Errors: `CheckpointError` for anything that this reader does not fully understand.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class CheckpointError(Exception):
    """The files are missing, damaged, or of a kind that this reader must not guess about."""


@dataclass(frozen=True)
class ModelConfig:
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    max_position_embeddings: int
    rope_theta: float
    rms_norm_eps: float
    bos_token_id: int
    eos_token_id: int

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads


@dataclass(frozen=True)
class TernaryWeight:
    """`codes` [out, in] holds -1, 0, +1 as float32; `scales` [out] multiply the sums (autobitlinear)."""

    codes: Floats
    scales: Floats

    @staticmethod
    def stacked(weights: list[TernaryWeight]) -> TernaryWeight:
        """Maps that read the same input, as one; each row keeps the scale of its own matrix."""
        codes = np.concatenate([weight.codes for weight in weights])
        return TernaryWeight(codes, np.concatenate([weight.scales for weight in weights]))


@dataclass(frozen=True)
class LayerWeights:
    input_norm: Floats
    query_key_value: TernaryWeight
    attention_sub_norm: Floats
    output: TernaryWeight
    post_attention_norm: Floats
    gate_up: TernaryWeight
    feed_forward_sub_norm: Floats
    down: TernaryWeight


@dataclass(frozen=True)
class Checkpoint:
    config: ModelConfig
    embedding: Floats
    layers: tuple[LayerWeights, ...]
    final_norm: Floats


def load_checkpoint(directory: Path) -> Checkpoint:
    config = read_config(directory)
    tensors = read_tensors(directory / "model.safetensors")
    try:
        layers = tuple(_layer(tensors, f"model.layers.{index}.") for index in range(config.num_hidden_layers))
        return Checkpoint(config, tensors["model.embed_tokens.weight"], layers, tensors["model.norm.weight"])
    except KeyError as missing:
        raise CheckpointError(f"{directory} has no tensor {missing}") from missing


def read_config(directory: Path) -> ModelConfig:
    try:
        raw: dict[str, Any] = json.loads((directory / "config.json").read_text())
    except (OSError, ValueError) as fault:
        raise CheckpointError(f"cannot read {directory / 'config.json'}: {fault}") from fault
    _refuse_other_kinds(raw)
    return ModelConfig(**{field: raw[field] for field in ModelConfig.__dataclass_fields__})


def _refuse_other_kinds(raw: dict[str, Any]) -> None:
    """The scale convention follows from these fields, never from the values of the scales."""
    quantization = raw.get("quantization_config", {})
    wanted = {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "offline"}
    for field, value in wanted.items():
        if quantization.get(field) != value:
            raise CheckpointError(f"quantization_config.{field} must be {value!r}")
    if raw.get("hidden_act") != "relu2" or not raw.get("tie_word_embeddings"):
        raise CheckpointError("only squared ReLU with tied embeddings is served")


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Every tensor of the file; bf16 becomes float32, packed weights stay uint8."""
    try:
        parts: list[tuple[str, dict[str, Any]]] = safetensors.deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
    except (OSError, safetensors.SafetensorError) as fault:
        raise CheckpointError(f"cannot read {path}: {fault}") from fault
    return {name: _array(part["data"], part["dtype"], part["shape"]) for name, part in parts}


def _array(data: bytes, dtype: str, shape: list[int]) -> NDArray[Any]:
    match dtype:
        case "BF16":
            widened = np.frombuffer(data, np.uint16).astype(np.uint32) << 16
            return widened.view(np.float32).reshape(shape)
        case "F16" | "F32":
            stored = np.frombuffer(data, np.float16 if dtype == "F16" else np.float32)
            return stored.astype(np.float32).reshape(shape)
        case "U8":
            return np.frombuffer(data, np.uint8).reshape(shape)
        case _:
            raise CheckpointError(f"unexpected tensor type {dtype}")


def unpack(packed: NDArray[np.uint8]) -> Floats:
    """uint8 [out/4, in] -> float32 [out, in]; byte r holds rows r + i*out/4 at bits 2i as w + 1."""
    blocks = [(packed >> (2 * block)) & 3 for block in range(4)]
    codes = np.concatenate(blocks)
    if (codes == 3).any():
        raise CheckpointError("a packed weight holds the invalid code 3")
    return codes.astype(np.float32) - np.float32(1)


def _layer(tensors: dict[str, NDArray[Any]], prefix: str) -> LayerWeights:
    def ternary(*names: str) -> TernaryWeight:
        return TernaryWeight.stacked([_ternary(tensors, prefix + name) for name in names])

    return LayerWeights(
        input_norm=tensors[prefix + "input_layernorm.weight"],
        query_key_value=ternary("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        attention_sub_norm=tensors[prefix + "self_attn.attn_sub_norm.weight"],
        output=ternary("self_attn.o_proj"),
        post_attention_norm=tensors[prefix + "post_attention_layernorm.weight"],
        gate_up=ternary("mlp.gate_proj", "mlp.up_proj"),
        feed_forward_sub_norm=tensors[prefix + "mlp.ffn_sub_norm.weight"],
        down=ternary("mlp.down_proj"),
    )


def _ternary(tensors: dict[str, NDArray[Any]], name: str) -> TernaryWeight:
    codes = unpack(tensors[f"{name}.weight"])
    scale = tensors[f"{name}.weight_scale"]
    if scale.shape != (1,) or not np.isfinite(scale).all():
        raise CheckpointError(f"{name}.weight_scale must be one finite number")
    return TernaryWeight(codes, np.repeat(scale, len(codes)))

"""Small checkpoints as Transformers writes them: two shards, an index, files that are not weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from ternary_kernels import packing, shards

from tests.kernels.layers import layer

Q, UP = "model.layers.0.self_attn.q_proj", "model.layers.0.mlp.up_proj"
BITNET = {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "offline"}


def write_source(folder: Path, tensors: dict[str, torch.Tensor], quantization: dict[str, Any] | None) -> Path:
    """A checkpoint of two shards, the scales apart from their weights."""
    folder.mkdir()
    config: dict[str, Any] = {"architectures": ["BitNetForCausalLM"], "hidden_size": 130}
    if quantization is not None:
        config["quantization_config"] = quantization
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"not copied")
    parts: dict[str, dict[str, torch.Tensor]] = {"model-1.safetensors": {}, "model-2.safetensors": {}}
    for name, tensor in tensors.items():
        parts["model-2.safetensors" if "scale" in name else "model-1.safetensors"][name] = tensor.contiguous()
    parts["model-2.safetensors"].setdefault("model.norm.weight", torch.ones(130, dtype=torch.bfloat16))
    weight_map = {}
    for name, part in parts.items():
        save_file(part, folder / name)
        weight_map |= dict.fromkeys(part, name)
    (folder / shards.INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def load(folder: Path) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        loaded |= load_file(path)
    return loaded


def packed_source(
    folder: Path, rng: torch.Generator, quantization: dict[str, Any] | None
) -> dict[str, torch.Tensor]:
    """Write a Hugging Face BitNet checkpoint; returns its ternary weights by layer name."""
    weights = {Q: layer(20, 130, rng).weights, UP: layer(8, 300, rng).weights}
    tensors = {"model.embed_tokens.weight": torch.randn(9, 130, generator=rng).bfloat16()}
    for name, weight in weights.items():
        tensors[f"{name}.weight"] = packing.pack_hf(weight)
        tensors[f"{name}.weight_scale"] = torch.tensor([0.5], dtype=torch.bfloat16)
    write_source(folder, tensors, quantization)
    return weights

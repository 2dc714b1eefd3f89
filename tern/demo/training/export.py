"""Writes a trained model as a Hugging Face BitNet checkpoint.

Weights are packed as transformers does for `quant_method: bitnet`: uint8 [out/4, in], byte r holds the rows
r, r + out/4, r + 2 out/4, r + 3 out/4 at bits 0, 2, 4, 6, each as w + 1. `weight_scale` multiplies
(`autobitlinear`, as in microsoft/bitnet-b1.58-2B-4T).
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from tern.demo.training.network import BitLinear, BitNet, ternary_codes, weight_scale


def pack(codes: Tensor) -> Tensor:
    """Ternary [out, in] -> uint8 [out/4, in]."""
    blocks = (codes + 1).to(torch.uint8).reshape(4, -1, codes.shape[1])
    return blocks[0] | blocks[1] << 2 | blocks[2] << 4 | blocks[3] << 6


def tensors_of(model: BitNet) -> dict[str, Tensor]:
    linears = {name for name, module in model.named_modules() if isinstance(module, BitLinear)}
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        weight = parameter.detach()
        if name.removesuffix(".weight") in linears:
            tensors[f"model.{name}"] = pack(ternary_codes(weight)).contiguous()
            tensors[f"model.{name}_scale"] = weight_scale(weight).reshape(1).to(torch.bfloat16)
        else:
            tensors[f"model.{name}"] = weight.to(torch.bfloat16)
    return tensors


def save_model(model: BitNet, directory: Path, token_ids: dict[str, int | None]) -> None:
    """Writes model.safetensors, config.json and generation_config.json."""
    save_file(tensors_of(model), directory / "model.safetensors", metadata={"format": "pt"})
    (directory / "model.safetensors").chmod(0o644)  # it is written for the owner only
    config = (
        asdict(model.shape)
        | token_ids
        | {
            "architectures": ["BitNetForCausalLM"],
            "model_type": "bitnet",
            "hidden_act": "relu2",
            "initializer_range": 0.02,
            "attention_bias": False,
            "attention_dropout": 0.0,
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
            "use_cache": True,
            "quantization_config": {
                "quant_method": "bitnet",
                "linear_class": "autobitlinear",
                "quantization_mode": "offline",
            },
        }
    )
    generation = token_ids | {"do_sample": True, "temperature": 0.8, "top_p": 0.95}
    for name, content in (("config.json", config), ("generation_config.json", generation)):
        (directory / name).write_text(json.dumps(content, indent=2) + "\n")

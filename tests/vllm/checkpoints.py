"""Tiny random ternary checkpoints, each written in every layout that is found on disk, from one source of
truth.

Every linear map has a scale of its own, a power of two, so that its reciprocal is exact and a scale that
lands on the wrong rows shows. Sizes are awkward on purpose: the FFN is 5.5 blocks of 128, keys and values
are half as many as queries.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers.integrations.bitnet import pack_weights, unpack_weights

HIDDEN, FFN, LAYERS, HEADS, KV_HEADS = 256, 704, 3, 4, 2
SPECIAL = ("<|begin|>", "<|end|>", "<|user|>", "<|assistant|>")
DEMO = Path(__file__).parents[2] / "tern" / "demo" / "checkpoint"
WEIGHTS = "model.safetensors"
VOCABULARY = 256 + len(SPECIAL)
CHAT = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}<|assistant|>"


class Family(StrEnum):
    BITNET = "bitnet"
    LLAMA = "llama"


class Stored(StrEnum):
    """How the linear maps are written. `MASTER` holds what training optimises: mean |W| is the scale,
    exactly."""

    MULTIPLY = "multiply"
    DIVIDE = "divide"
    MASTER = "master"
    UNPACKED = "unpacked"


@dataclass(frozen=True)
class Map:
    """codes int8 [N, K] of -1, 0, +1 and one scale."""

    codes: Tensor
    scale: float


@dataclass(frozen=True)
class Tiny:
    """`maps` by layer and projection, `plain` by tensor name."""

    family: Family
    maps: dict[str, Map]
    plain: dict[str, Tensor]


def random_tiny(family: Family, seed: int = 0, leaning: float | None = None) -> Tiny:
    """A random model with a tied head; with `leaning`, one whose head leans towards one successor for every
    token.

    A model of pure noise is chaotic: float noise of 1e-6 now and then flips an int8 rounding, which moves
    logits by some 5 % of their spread, and the two best tokens are often closer than that. Where the
    embedding, of deviation `leaning`, has a say beside the layers, most choices are clear and the others
    still depend on every scale.
    """
    generator = torch.Generator().manual_seed(seed)
    head = HIDDEN // HEADS
    shapes = {
        "self_attn.q_proj": (HIDDEN, HIDDEN, -4),
        "self_attn.k_proj": (KV_HEADS * head, HIDDEN, -3),
        "self_attn.v_proj": (KV_HEADS * head, HIDDEN, -5),
        "self_attn.o_proj": (HIDDEN, HIDDEN, -3),
        "mlp.gate_proj": (FFN, HIDDEN, -4),
        "mlp.up_proj": (FFN, HIDDEN, -2),
        "mlp.down_proj": (HIDDEN, FFN, -4),
    }
    maps, plain = {}, {}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        for name, (rows, columns, power) in shapes.items():
            codes = torch.randint(-1, 2, (rows, columns), generator=generator, dtype=torch.int8)
            maps[prefix + name] = Map(codes, 2.0**power)
        norms = {"input_layernorm": HIDDEN, "post_attention_layernorm": HIDDEN}
        if family is Family.BITNET:
            norms |= {"self_attn.attn_sub_norm": HIDDEN, "mlp.ffn_sub_norm": FFN}
        for name, size in norms.items():
            plain[f"{prefix}{name}.weight"] = 1 + 0.1 * torch.randn(size, generator=generator)
    plain["model.norm.weight"] = 1 + 0.1 * torch.randn(HIDDEN, generator=generator)
    embedding = torch.randn(VOCABULARY, HIDDEN, generator=generator)
    plain["model.embed_tokens.weight"] = embedding * (leaning or 0.02)
    if leaning:
        plain["lm_head.weight"] = embedding[torch.randperm(VOCABULARY, generator=generator)]
    return Tiny(family, maps, plain)


def write(tiny: Tiny, stored: Stored, directory: Path) -> Path:
    """A complete checkpoint directory: weights, config, tokenizer."""
    directory.mkdir(parents=True)
    tensors = dict(tiny.plain)
    for name, map_ in tiny.maps.items():
        tensors |= _stored_map(name, map_, stored)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, directory / WEIGHTS)
    (directory / "config.json").write_text(json.dumps(_config(tiny, stored), indent=2))
    write_tokenizer(directory)
    return directory


def write_grouped(tiny: Tiny, directory: Path) -> Path:
    """Unpacked weights whose scale changes by powers of two from one group of 128 columns to the next."""
    write(tiny, Stored.UNPACKED, directory)
    tensors = load_file(directory / WEIGHTS)
    generator = torch.Generator().manual_seed(1)
    for name, map_ in tiny.maps.items():
        rows, columns = map_.codes.shape
        factors = 2.0 ** torch.randint(-1, 2, (rows, -(-columns // 128)), generator=generator)
        tensors[f"{name}.weight"] *= factors.repeat_interleave(128, dim=1)[:, :columns]
    save_file(tensors, directory / WEIGHTS)
    return directory


def _stored_map(name: str, map_: Map, stored: Stored) -> dict[str, Tensor]:
    match stored:
        case Stored.MULTIPLY | Stored.DIVIDE:
            value = map_.scale if stored is Stored.MULTIPLY else 1 / map_.scale
            packed = pack_weights(map_.codes.clone())
            return {f"{name}.weight": packed, f"{name}.weight_scale": torch.tensor([value])}
        case Stored.UNPACKED:
            return {f"{name}.weight": map_.codes.to(torch.float32) * map_.scale}
        case Stored.MASTER:
            return {f"{name}.weight": _master(map_)}


def _master(map_: Map) -> Tensor:
    """Values that round to the codes at the scale mean |W| = scale: zeros become +-small, ones take up the
    rest."""
    ones = map_.codes != 0
    zeros = ones.numel() - int(ones.sum())
    small = torch.zeros(ones.shape)
    small.view(-1)[(~ones).view(-1).nonzero()[::2, 0]] = 0.25
    excess = ones.numel() - float(small.sum())
    each = torch.floor(torch.tensor(excess / int(ones.sum()) * 16)) / 16  # a multiple of 1/16: sums stay exact
    values = torch.where(ones, each, small)
    rest = round((ones.numel() - float(values.sum())) * 16)  # sixteenths still missing, fewer than there are ones
    assert zeros and 0 <= rest <= int(ones.sum()) and each > 0.5
    values.view(-1)[ones.view(-1).nonzero()[:rest, 0]] += 1 / 16
    sign = torch.where(ones, map_.codes.to(torch.float32), 1.0)
    return values * sign * map_.scale


def _config(tiny: Tiny, stored: Stored) -> dict[str, object]:
    family = tiny.family
    config: dict[str, object] = {
        "architectures": ["BitNetForCausalLM" if family is Family.BITNET else "LlamaForCausalLM"],
        "model_type": str(family),
        "hidden_act": "relu2" if family is Family.BITNET else "silu",
        "hidden_size": HIDDEN,
        "intermediate_size": FFN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": "lm_head.weight" not in tiny.plain,
        "vocab_size": VOCABULARY,
        "bos_token_id": 256,
        "eos_token_id": 257,
        "torch_dtype": "float32",
    }
    quantization = {
        Stored.MULTIPLY: {"linear_class": "autobitlinear", "quantization_mode": "offline"},
        Stored.DIVIDE: {},
        Stored.MASTER: {"linear_class": "autobitlinear", "quantization_mode": "online"},
    }
    if stored in quantization:
        config["quantization_config"] = {"quant_method": "bitnet", **quantization[stored]}
    return config


def write_tokenizer(directory: Path) -> None:
    """One token per byte, four special ones, and a chat template."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={char: index for index, char in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.save(str(directory / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": SPECIAL[0],
        "eos_token": SPECIAL[1],
        "chat_template": CHAT,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))


def with_swapped_scales(source: Path, target: Path, first: str, second: str) -> Path:
    """A copy of a packed checkpoint in which two linear maps have exchanged their scales."""
    shutil.copytree(source, target)
    tensors = load_file(target / WEIGHTS)
    names = [f"{name}.weight_scale" for name in (first, second)]
    assert not torch.equal(tensors[names[0]], tensors[names[1]])
    swapped = dict(zip(names, (tensors[name] for name in reversed(names)), strict=True))
    save_file(tensors | swapped, target / WEIGHTS)
    return target


def edit_config(directory: Path, **changes: object) -> Path:
    """Changes config.json; a value of None takes the entry away."""
    config = json.loads((directory / "config.json").read_text()) | changes
    kept = {name: value for name, value in config.items() if value is not None}
    (directory / "config.json").write_text(json.dumps(kept))
    return directory


def with_1bitllm_names(tiny: Tiny) -> Tiny:
    renamed = {
        name.replace("attn_sub_norm", "inner_attn_ln").replace("ffn_sub_norm", "ffn_layernorm"): tensor
        for name, tensor in tiny.plain.items()
    }
    return replace(tiny, plain=renamed)


def dense_copy(source: Path, target: Path) -> Path:
    """A packed checkpoint as an ordinary dense float32 one, unpacked by Transformers' own code."""
    shutil.copytree(source, target)
    config = json.loads((target / "config.json").read_text())
    multiplies = config.pop("quantization_config").get("linear_class") == "autobitlinear"
    tensors = load_file(target / WEIGHTS)
    for name in [name for name in tensors if name.endswith(".weight_scale")]:
        scale = tensors.pop(name).to(torch.float32)
        with torch.compiler.set_stance("force_eager"):
            codes = unpack_weights(tensors[name.removesuffix("_scale")], torch.float32)
        tensors[name.removesuffix("_scale")] = codes * scale if multiplies else codes / scale
    save_file({name: tensor.to(torch.float32) for name, tensor in tensors.items()}, target / WEIGHTS)
    (target / "config.json").write_text(json.dumps(config))
    return target

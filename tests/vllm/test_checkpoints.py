"""Every layout and both scale conventions are one model; every scale lands on its rows; what is broken is
refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from ternary_kernels.convert import convert
from vllm import LLM

from tests.vllm.checkpoints import (
    FFN,
    HIDDEN,
    Family,
    Stored,
    Tiny,
    edit_config,
    random_tiny,
    with_1bitllm_names,
    write,
    write_grouped,
)
from tests.vllm.engine import PROMPTS, clearest, engine, greedy, next_token_logits, prompt_tokens, random_prompts
from tests.vllm.twin import TWIN

PACKED = [Stored.MULTIPLY, Stored.DIVIDE]
FUSED = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}
FUSED |= {"o_proj": ("o_proj",), "down_proj": ("down_proj",)}


def logits(directory: Path, stored: Stored) -> torch.Tensor:
    options = {"quantization": "ternary"} if stored is Stored.UNPACKED else {}
    with engine(directory, **options) as llm:
        return next_token_logits(llm, [prompt_tokens(text) for text in PROMPTS])


@pytest.mark.parametrize("family", list(Family))
def test_both_conventions_give_the_logits_of_their_masters(family: Family, tmp_path: Path) -> None:
    tiny = random_tiny(family)
    by_layout = {stored: logits(write(tiny, stored, tmp_path / stored), stored) for stored in Stored}
    assert by_layout[Stored.MASTER].std() > 0
    for stored in (*PACKED, Stored.UNPACKED):
        assert torch.equal(by_layout[stored], by_layout[Stored.MASTER]), stored


def test_a_convention_read_the_wrong_way_is_another_model(tmp_path: Path) -> None:
    tiny = random_tiny(Family.LLAMA)
    right = write(tiny, Stored.DIVIDE, tmp_path / "right")
    wrong = write(tiny, Stored.MULTIPLY, tmp_path / "wrong")
    (wrong / "config.json").write_text((right / "config.json").read_text())
    assert not torch.allclose(logits(right, Stored.DIVIDE), logits(wrong, Stored.DIVIDE), rtol=0.1)


@pytest.mark.parametrize("stored", list(Stored))
def test_fused_layers_keep_the_scale_of_each_part(stored: Stored, tmp_path: Path) -> None:
    tiny = random_tiny(Family.BITNET)
    options = {"quantization": "ternary"} if stored is Stored.UNPACKED else {}
    with engine(write(tiny, stored, tmp_path / "model"), **options) as llm:
        loaded = llm.apply_model(_scales_and_weights)[0]
    assert len(loaded) == 4 * len(tiny.maps) // 7
    for name, (scales, weights) in loaded.items():
        parent, fused = name.rsplit(".", 1)
        parts = [tiny.maps[f"{parent}.{part}"] for part in FUSED[fused]]
        assert torch.equal(weights, torch.cat([part.codes for part in parts]).to(torch.float32)), name
        assert torch.equal(scales, torch.cat([torch.full((len(p.codes),), p.scale) for p in parts])), name


@pytest.mark.parametrize("stored", list(Stored))
def test_a_converted_checkpoint_gives_the_logits_of_its_source(stored: Stored, tmp_path: Path) -> None:
    source = write(random_tiny(Family.LLAMA), stored, tmp_path / "source")
    convert(source, tmp_path / "converted")
    assert torch.equal(logits(tmp_path / "converted", Stored.MULTIPLY), logits(source, stored))


def test_scales_per_group_of_128_equal_the_dense_twin(tmp_path: Path) -> None:
    dense = write_grouped(random_tiny(Family.LLAMA, leaning=1.4), tmp_path / "dense")
    convert(dense, tmp_path / "converted", "unpacked", 128)
    with engine(tmp_path / "converted") as llm:
        prompts = clearest(llm, random_prompts())
        converted = greedy(llm, prompts)
    as_unpacked = {"quant_method": "ternary", "layout": "unpacked", "group_size": 128}
    with engine(dense, hf_overrides={"quantization_config": as_unpacked}) as llm:
        assert greedy(llm, prompts) == converted
    with engine(dense, quantization=TWIN) as llm:
        assert greedy(llm, prompts) == converted


def test_the_masters_of_1bitllm_are_served_by_their_own_names(tmp_path: Path) -> None:
    """Architecture BitnetForCausalLM, other names for the sub-norms, silu, and no quantization_config."""
    tiny = random_tiny(Family.BITNET)
    known = edit_config(write(tiny, Stored.MASTER, tmp_path / "known"), hidden_act="silu")
    renamed = write(with_1bitllm_names(tiny), Stored.MASTER, tmp_path / "renamed")
    names = {"architectures": ["BitnetForCausalLM"], "model_type": "llama", "hidden_act": "silu"}
    edit_config(renamed, **names, quantization_config=None)
    masters = {"quantization_config": {"quant_method": "ternary", "layout": "master"}}
    prompts = [prompt_tokens(text) for text in PROMPTS]
    with engine(known) as llm:
        expected = next_token_logits(llm, prompts)
    with engine(renamed, hf_overrides=masters) as llm:
        assert torch.equal(next_token_logits(llm, prompts), expected)


def _scales_and_weights(model: torch.nn.Module) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    layers = ((name, module) for name, module in model.named_modules() if hasattr(module, "weight_scale"))
    return {name: (module.weight_scale.clone(), module.weight.clone()) for name, module in layers}


def test_the_packed_weights_give_the_same_logits_unpacked_at_every_call(tmp_path: Path) -> None:
    directory = write(random_tiny(Family.BITNET), Stored.MULTIPLY, tmp_path / "model")
    prompts = [prompt_tokens(text) for text in PROMPTS]
    with engine(directory) as llm:
        once = next_token_logits(llm, prompts)
    with engine(directory, additional_config={"ternary": {"unpack_once": False}}) as llm:
        assert torch.equal(next_token_logits(llm, prompts), once)


def test_compiled_it_says_what_it_says_eagerly(tmp_path: Path) -> None:
    directory = write(random_tiny(Family.BITNET, leaning=0.95), Stored.MULTIPLY, tmp_path / "model")
    with engine(directory) as llm:
        prompts = clearest(llm, random_prompts())
        eager = greedy(llm, prompts)
    with engine(directory, enforce_eager=False) as llm:
        assert greedy(llm, prompts) == eager


def test_the_int8_head_stays_close_and_only_where_asked_for(tmp_path: Path) -> None:
    directory = write(random_tiny(Family.BITNET), Stored.MULTIPLY, tmp_path / "model")
    prompts = [prompt_tokens(text) for text in PROMPTS]
    with engine(directory) as llm:
        exact = next_token_logits(llm, prompts)
    with engine(directory, additional_config={"ternary": {"int8_head": True}}) as llm:
        close = next_token_logits(llm, prompts)
    assert not torch.equal(close, exact)
    assert (close - exact).abs().max() < 0.05 * exact.std()


def _broken(tiny: Tiny, directory: Path, change: dict[str, torch.Tensor | None], stored: Stored) -> Path:
    """The checkpoint with tensors replaced, or left out (None)."""
    write(tiny, stored, directory)
    tensors = load_file(directory / "model.safetensors") | change
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    save_file(kept, directory / "model.safetensors")
    return directory


LAYER = "model.layers.1."
UP = f"{LAYER}mlp.up_proj.weight"
NOISE = torch.randn(FFN, HIDDEN, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("stored", "change", "sentence"),
    [
        (Stored.MULTIPLY, {UP: torch.full((FFN // 4, HIDDEN), 0xFF).to(torch.uint8)}, "invalid code 3"),
        (Stored.MULTIPLY, {UP: torch.full((FFN // 2, HIDDEN), 0x55).to(torch.uint8)}, "the model has"),
        (Stored.MULTIPLY, {UP: None}, "does not hold all of it"),
        (Stored.MULTIPLY, {f"{UP}_scale": None}, "does not hold all of it"),
        (Stored.MULTIPLY, {f"{UP}_scale": torch.tensor([float("nan")])}, "NaN or infinite"),
        (Stored.DIVIDE, {f"{UP}_scale": torch.tensor([0.0])}, "zero cannot be divided by"),
        (Stored.MULTIPLY, {f"{UP}_scale": torch.tensor([1.0, 2.0])}, "expected 1 or"),
        (Stored.MULTIPLY, {UP: NOISE}, "uint8"),
        (Stored.UNPACKED, {UP: NOISE}, "not ternary"),
        (Stored.MASTER, {UP: NOISE.log()}, "NaN or infinite"),
        (Stored.MASTER, {f"{UP}_scale": torch.tensor([1.0])}, "carry their scale themselves"),
        (Stored.MULTIPLY, {f"{LAYER}mlp.ffn_sub_norm.weight": None}, "ffn_sub_norm.weight: not in the checkpoint"),
    ],
)
def test_a_broken_checkpoint_is_refused_with_a_sentence(
    stored: Stored, change: dict[str, torch.Tensor | None], sentence: str, tmp_path: Path
) -> None:
    directory = _broken(random_tiny(Family.BITNET), tmp_path / "model", change, stored)
    options = {"quantization": "ternary"} if stored is Stored.UNPACKED else {}
    with pytest.raises(Exception, match=sentence), engine(directory, **options):
        pass


def test_a_dense_model_is_left_alone_by_the_plugin(tmp_path: Path) -> None:
    directory = write(random_tiny(Family.LLAMA), Stored.UNPACKED, tmp_path / "model")
    with engine(directory) as llm:
        assert not llm.apply_model(_scales_and_weights)[0]
        assert _quantization(llm) is None


def _quantization(llm: LLM) -> str | None:
    return llm.llm_engine.model_config.quantization

"""The plugin's tokens are those of the dense twin and of Transformers; one swapped scale is enough to part from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vllm import huggingface
from tests.vllm.checkpoints import Family, Stored, random_tiny, write
from tests.vllm.engine import PROMPTS, engine, greedy, prompt_tokens
from tests.vllm.twin import TWIN

SWAPS = {
    Family.BITNET: ("model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.v_proj"),
    Family.LLAMA: ("model.layers.1.mlp.gate_proj", "model.layers.1.mlp.up_proj"),
}
STORED = {Family.BITNET: Stored.MULTIPLY, Family.LLAMA: Stored.DIVIDE}


@pytest.mark.parametrize("family", list(Family))
def test_greedy_tokens_equal_the_dense_twin_and_transformers(family: Family, tmp_path: Path) -> None:
    tiny = random_tiny(family)
    prompts = [prompt_tokens(text) for text in PROMPTS]
    packed = write(tiny, STORED[family], tmp_path / "packed")
    with engine(packed) as llm:
        ours = greedy(llm, prompts)
    with engine(write(tiny, Stored.UNPACKED, tmp_path / "dense"), quantization=TWIN) as llm:
        twin = greedy(llm, prompts)
    assert len(ours) >= 8 and all(len(reply) == 48 for reply in ours)
    assert sum(len(set(reply)) for reply in ours) > 8 * 12, "a model that repeats itself would prove nothing"
    assert ours == twin
    assert ours == huggingface.greedy(packed, prompts)


@pytest.mark.parametrize("family", list(Family))
def test_one_swapped_pair_of_scales_is_noticed(family: Family, tmp_path: Path) -> None:
    tiny = random_tiny(family)
    prompts = [prompt_tokens(text) for text in PROMPTS]
    with engine(write(tiny, STORED[family], tmp_path / "right")) as llm:
        right = greedy(llm, prompts)
    wrong_checkpoint = write(tiny.with_swapped_scales(*SWAPS[family]), STORED[family], tmp_path / "wrong")
    with engine(wrong_checkpoint) as llm:
        wrong = greedy(llm, prompts)
    assert all(a != b for a, b in zip(right, wrong, strict=True))

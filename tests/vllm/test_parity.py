"""The plugin's tokens are those of the dense twin and of Transformers; one swapped scale is enough to part
from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from tests.vllm import huggingface
from tests.vllm.checkpoints import DEMO, Family, Stored, dense_copy, random_tiny, with_swapped_scales, write
from tests.vllm.engine import clearest, engine, greedy, random_prompts
from tests.vllm.twin import TWIN

QUESTIONS = """Hello, how are you? | Who are you? | What is a ternary model? | What is two plus ten? | What
is a ledger? Where does the fox live? | What is a gateway? | Tell me about the bear. | What is the weather
like? | Thank you! What is three plus four? | Tell me a story. | What does a baker do? | What is an owl? |
Good morning | What is a token? What is a router? | What do you know? | What is a budget? | Is it cold in
winter? | What is a kernel? | Goodbye What is one plus one? | What does a doctor do? | What colour is the
sky? | What is bread? | Are you small?"""


@dataclass(frozen=True)
class Case:
    """A checkpoint, the prompts to choose from, and two linear maps whose scales matter (a sub-norm hides
    some)."""

    checkpoint: Path
    pool: list[list[int]]
    swapped: tuple[str, str]


@pytest.fixture(params=["demo", "bitnet", "llama"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    after_sub_norms = ("model.layers.1.self_attn.o_proj", "model.layers.1.mlp.down_proj")
    first_and_last = ("model.layers.0.mlp.down_proj", "model.layers.3.mlp.down_proj")
    gate_and_up = ("model.layers.1.mlp.gate_proj", "model.layers.1.mlp.up_proj")
    match request.param:
        case "demo":
            return Case(DEMO, _chats(DEMO), first_and_last)
        case "bitnet":
            tiny, stored, swapped = random_tiny(Family.BITNET, leaning=0.95), Stored.MULTIPLY, after_sub_norms
        case _:
            tiny, stored, swapped = random_tiny(Family.LLAMA, leaning=0.95), Stored.DIVIDE, gate_and_up
    return Case(write(tiny, stored, tmp_path / "packed"), random_prompts(), swapped)


def _chats(directory: Path) -> list[list[int]]:
    tokenizer = AutoTokenizer.from_pretrained(directory)
    questions = [question.strip() for line in QUESTIONS.splitlines() for question in line.split("|")]
    chats = [[{"role": "user", "content": question}] for question in questions]
    return [tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False) for chat in chats]


def test_greedy_tokens_equal_the_dense_twin_and_transformers(case: Case, tmp_path: Path) -> None:
    with engine(case.checkpoint) as llm:
        prompts = clearest(llm, case.pool)
        ours = greedy(llm, prompts)
    assert len(ours) == 8 and all(len(reply) == 48 for reply in ours)
    assert sum(len(set(reply)) for reply in ours) > 8 * 10, "a model that repeats itself would prove nothing"
    with engine(dense_copy(case.checkpoint, tmp_path / "dense"), quantization=TWIN) as llm:
        assert greedy(llm, prompts) == ours
    assert huggingface.greedy(case.checkpoint, prompts) == ours


def test_one_swapped_pair_of_scales_is_noticed(case: Case, tmp_path: Path) -> None:
    """The control: the same comparison, on the same prompts, with two scales of one layer exchanged."""
    with engine(case.checkpoint) as llm:
        prompts = clearest(llm, case.pool)
        right = greedy(llm, prompts)
    with engine(with_swapped_scales(case.checkpoint, tmp_path / "wrong", *case.swapped)) as llm:
        wrong = greedy(llm, prompts)
    assert sum(a != b for a, b in zip(right, wrong, strict=True)) >= 2

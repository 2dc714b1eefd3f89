"""vLLM inside this process: one engine at a time, in float32, so that greedy tokens can be compared
exactly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from vllm import LLM, SamplingParams
from vllm.distributed import cleanup_dist_env_and_memory
from vllm.logprobs import Logprob

BEGIN = 256
KV_CACHE_BYTES = 1 << 26
PROMPTS = (
    "Hello, how are you?",
    "The quick brown fox",
    "ternary",
    "1 + 1 =",
    "a",
    "Once upon a time, in a land of three values,",
    "def main():\n    return",
    "What is a kernel?",
)


def prompt_tokens(text: str) -> list[int]:
    """The byte-level tokens of the tiny tokenizer, written out so that every implementation gets the same."""
    alphabet = sorted(set(_byte_order()))
    return [BEGIN, *(alphabet.index(_byte_order()[byte]) for byte in text.encode())]


def _byte_order() -> list[str]:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return list(dict(sorted(bytes_to_unicode().items())).values())


@contextmanager
def engine(directory: Path, **options: Any) -> Iterator[LLM]:
    settings: dict[str, Any] = {
        "dtype": "float32",
        "enforce_eager": True,
        "kv_cache_memory_bytes": KV_CACHE_BYTES,
        "max_model_len": 256,
        "max_logprobs": -1,
        "logprobs_mode": "raw_logits",
        "enable_prefix_caching": False,
    }
    llm = LLM(model=str(directory), **(settings | options))
    try:
        yield llm
    finally:
        llm.llm_engine.engine_core.shutdown()
        del llm
        cleanup_dist_env_and_memory()


def greedy(llm: LLM, prompts: Sequence[list[int]], tokens: int = 48) -> list[list[int]]:
    sampling = SamplingParams(temperature=0, max_tokens=tokens, ignore_eos=True)
    requests = [{"prompt_token_ids": prompt} for prompt in prompts]
    return [list(reply.outputs[0].token_ids) for reply in llm.generate(requests, sampling, use_tqdm=False)]


def random_prompts(count: int = 400) -> list[list[int]]:
    """Prompts for a tiny model: the begin token and 3 to 19 random bytes."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(3, 20, (count,), generator=generator).tolist()
    return [[BEGIN, *torch.randint(0, BEGIN, (length,), generator=generator).tolist()] for length in lengths]


def clearest(llm: LLM, pool: list[list[int]], count: int = 8, tokens: int = 48) -> list[list[int]]:
    """The `count` prompts of `pool` whose greedy continuation is decided by the widest margins.

    Float noise of 1e-6 now and then flips an int8 rounding, which moves logits by some 5 % of their spread:
    where two tokens are closer than that, two correct implementations part. The prompts taken are clearer
    several times over; they are chosen by our own margins, before anything is compared.
    """
    sampling = SamplingParams(temperature=0, max_tokens=tokens, ignore_eos=True, logprobs=2)
    replies = llm.generate([{"prompt_token_ids": prompt} for prompt in pool], sampling, use_tqdm=False)
    margins = torch.tensor([min(map(_margin, reply.outputs[0].logprobs)) for reply in replies])
    return [pool[index] for index in margins.argsort(descending=True)[:count].tolist()]


def _margin(candidates: dict[int, Logprob]) -> float:
    best, second = sorted((candidate.logprob for candidate in candidates.values()), reverse=True)[:2]
    return best - second


def next_token_logits(llm: LLM, prompts: Sequence[list[int]]) -> torch.Tensor:
    """Raw logits after each prompt: float32 [prompts, vocabulary]."""
    sampling = SamplingParams(temperature=0, max_tokens=1, logprobs=-1)
    requests = [{"prompt_token_ids": prompt} for prompt in prompts]
    rows = []
    for reply in llm.generate(requests, sampling, use_tqdm=False):
        by_token = reply.outputs[0].logprobs[0]
        rows.append([by_token[token].logprob for token in sorted(by_token)])
    return torch.tensor(rows)

"""vLLM inside this process: one engine at a time, in float32, so that greedy tokens can be compared exactly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from vllm import LLM, SamplingParams
from vllm.distributed import cleanup_dist_env_and_memory

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


def next_token_logits(llm: LLM, prompts: Sequence[list[int]]) -> torch.Tensor:
    """Raw logits after each prompt: float32 [prompts, vocabulary]."""
    sampling = SamplingParams(temperature=0, max_tokens=1, logprobs=-1)
    requests = [{"prompt_token_ids": prompt} for prompt in prompts]
    rows = []
    for reply in llm.generate(requests, sampling, use_tqdm=False):
        by_token = reply.outputs[0].logprobs[0]
        rows.append([by_token[token].logprob for token in sorted(by_token)])
    return torch.tensor(rows)

"""Transformers' own implementation of a ternary checkpoint, in float32: the outside reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM


def greedy(directory: Path, prompts: Sequence[list[int]], tokens: int = 48) -> list[list[int]]:
    with torch.compiler.set_stance("force_eager"), torch.no_grad():
        model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
        return [_continue(model, prompt, tokens) for prompt in prompts]


def _continue(model: torch.nn.Module, prompt: list[int], tokens: int) -> list[int]:
    """Greedy decoding with the cache, one token at a time."""
    reply, cache, step = [], None, torch.tensor([prompt])
    for _ in range(tokens):
        output = model(step, past_key_values=cache, use_cache=True)
        step, cache = output.logits[:, -1:].argmax(dim=-1), output.past_key_values
        reply.append(int(step))
    return reply

"""Corpus documents -> one long row of token ids, with a mask of what the model shall learn to write."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from tokenizers import Tokenizer
from torch import Tensor

from tern.demo.training.corpus import Message
from tern.demo.training.tokenizer import BOS, END


def encode(tokenizer: Tokenizer, documents: Iterable[str | list[Message]]) -> tuple[Tensor, Tensor]:
    """Token ids and a mask of the same length; questions and markers are read, never written."""
    tokens: list[int] = []
    answers: list[bool] = []
    for document in documents:
        for text, is_answer in _pieces(document):
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            tokens += ids
            answers += [is_answer] * len(ids)
    return torch.tensor(tokens), torch.tensor(answers)


def _pieces(document: str | list[Message]) -> list[tuple[str, bool]]:
    if isinstance(document, str):
        return [(BOS, False), (document + END, True)]
    pieces = [(BOS, False)]
    for message in document:
        pieces.append((f"<|{message['role']}|>", False))
        pieces.append((message["content"] + END, message["role"] == "assistant"))
    return pieces

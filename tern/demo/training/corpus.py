"""The corpus: an endless, seeded row of documents, plain text and chats, and the words that it uses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from random import Random

from tern.demo.training.chats import TOPICS, Pair, animal_fact, part_fact
from tern.demo.training.stories import story
from tern.demo.training.words import ANIMALS

SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are a friendly assistant. Answer briefly.",
    "Answer in simple words.",
    "You are Tern, a small model.",
)
_WORD = re.compile(r"[^\W\d_]+")
_PLAIN_SHARE = 0.15
_SYSTEM_SHARE = 0.25
_MORE_TURNS_SHARE = 0.3


Message = dict[str, str]


def documents(seed: int) -> Iterator[str | list[Message]]:
    """Plain texts and chats (lists of messages with role and content), for ever, always the same for a seed."""
    rng = Random(seed)
    while True:
        yield plain_text(rng) if rng.random() < _PLAIN_SHARE else chat(rng)


def plain_text(rng: Random) -> str:
    kind = rng.randrange(3)
    if kind == 0:
        return story(rng, rng.choice((*ANIMALS, None)))
    fact = animal_fact if kind == 1 else part_fact
    return " ".join(fact(rng)[1] for _ in range(rng.randint(1, 3)))


def chat(rng: Random) -> list[Message]:
    messages: list[Message] = []
    if rng.random() < _SYSTEM_SHARE:
        messages.append({"role": "system", "content": rng.choice(SYSTEM_PROMPTS)})
    messages += _turn(rng, pair(rng))
    while rng.random() < _MORE_TURNS_SHARE:
        messages += _turn(rng, pair(rng))
    return messages


def pair(rng: Random) -> Pair:
    topics, weights = zip(*TOPICS, strict=True)
    topic = rng.choices(topics, weights)[0]
    question, answer = topic(rng)
    return _as_typed(rng, question), answer


def _as_typed(rng: Random, question: str) -> str:
    """People do not always type capitals and full stops."""
    habit = rng.random()
    if habit < 0.15:
        question = question.lower()
    if habit < 0.1:
        question = question.replace("What is", "What's").replace("what is", "what's")
    if habit < 0.25:
        question = question.rstrip(".!?") or question
    return question


def _turn(rng: Random, turn: Pair) -> list[Message]:
    return [{"role": "user", "content": turn[0]}, {"role": "assistant", "content": turn[1]}]


def texts_of(document: str | list[Message]) -> list[str]:
    return [document] if isinstance(document, str) else [message["content"] for message in document]


def answers_of(document: str | list[Message]) -> list[str]:
    if isinstance(document, str):
        return [document]
    return [message["content"] for message in document if message["role"] == "assistant"]


def words_in(texts: Iterable[str]) -> set[str]:
    return {word.lower() for text in texts for word in _WORD.findall(text)}


def vocabulary(seed: int = 1, document_count: int = 20_000) -> set[str]:
    """Every word that the corpus teaches the model to write."""
    some_documents = islice(documents(seed), document_count)
    return words_in(text for document in some_documents for text in answers_of(document))

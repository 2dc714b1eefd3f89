"""What the shipped checkpoint says: words, sentences, and the right ones."""

from __future__ import annotations

from typing import Any

import pytest
from openai import AsyncOpenAI

from tern.demo.training.corpus import vocabulary, words_in
from tests.demo.reading import MODEL

QUESTIONS = (
    "Hello!", "Who are you?", "What is a fox?", "Where does a penguin live?", "Tell me a story about a bear.",
    "What is a gateway?", "What is a ternary weight?", "How is the weather in winter?", "Why does it rain?",
    "What does a baker do?", "How do I make pancakes?", "Write a poem about an owl.", "What is 2 plus 3?",
    "What is the capital of France?", "Thank you!",
)  # fmt: skip


@pytest.fixture(scope="module")
def words() -> set[str]:
    return vocabulary()


async def ask(client: AsyncOpenAI, question: str, **settings: Any) -> str:
    messages: list[Any] = [{"role": "user", "content": question}]
    reply = await client.chat.completions.create(model=MODEL, messages=messages, max_tokens=200, **settings)
    assert reply.choices[0].finish_reason == "stop"
    return reply.choices[0].message.content or ""


@pytest.mark.parametrize("question", QUESTIONS)
async def test_greedy_answers_are_sentences_of_known_words(
    client: AsyncOpenAI, words: set[str], question: str
) -> None:
    answer = await ask(client, question, temperature=0)
    said = words_in([answer])
    assert len(answer.split()) >= 5
    assert said <= words, f"not words: {said - words} in {answer!r}"
    assert answer[0].isupper() or not answer[0].isalpha()


async def test_sampled_answers_are_made_of_known_words(client: AsyncOpenAI, words: set[str]) -> None:
    answers = [await ask(client, question, temperature=0.8, seed=11) for question in QUESTIONS]
    said = words_in(answers)
    assert len(said & words) / len(said) > 0.97, f"not words: {said - words}"


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Where does a penguin live?", "ice"),
        ("What sound does a cow make?", "moos"),
        ("What is 2 plus 3?", "five"),
        ("What is a gateway?", "between clients and servers"),
        ("Tell me a story about a bear.", "bear"),
        ("What is the capital of France?", "I do not know"),
    ],
)
async def test_answers_belong_to_their_questions(client: AsyncOpenAI, question: str, expected: str) -> None:
    assert expected in await ask(client, question, temperature=0)

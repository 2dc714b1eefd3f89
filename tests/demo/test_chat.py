"""Chat through the real OpenAI SDK: text, usage, stop, n, seed, log-probabilities."""

from __future__ import annotations

import math
from typing import Any

from openai import AsyncOpenAI

from tern.demo.text import TextCodec
from tests.demo.reading import MODEL

QUESTION: list[Any] = [{"role": "user", "content": "Tell me a story about a fox."}]


async def test_usage_counts_the_tokens_of_prompt_and_answer(client: AsyncOpenAI, codec: TextCodec) -> None:
    reply = await client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0, logprobs=True)
    logprobs = reply.choices[0].logprobs
    assert logprobs and logprobs.content and reply.usage
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage.prompt_tokens == len(codec.encode_chat([("user", QUESTION[0]["content"])]))
    assert reply.usage.completion_tokens == len(logprobs.content)
    assert logprobs.content[-1].token == "<|end|>"
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
    assert reply.system_fingerprint == "tern-demo-backend"


async def test_max_tokens_ends_the_answer_with_length(client: AsyncOpenAI) -> None:
    reply = await client.chat.completions.create(model=MODEL, messages=QUESTION, max_completion_tokens=4)
    assert reply.usage and reply.usage.completion_tokens == 4
    assert reply.choices[0].finish_reason == "length"


async def test_ignore_eos_writes_exactly_max_tokens(client: AsyncOpenAI) -> None:
    reply = await client.chat.completions.create(
        model=MODEL, messages=QUESTION, max_tokens=300, extra_body={"ignore_eos": True}
    )
    assert reply.usage and reply.usage.completion_tokens == 300


async def test_a_greedy_answer_equals_its_stream(client: AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0)
    stream = await client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0, stream=True)
    pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(pieces) == whole.choices[0].message.content
    assert len(pieces) > 20


async def test_the_same_seed_gives_the_same_answer_and_another_seed_another(client: AsyncOpenAI) -> None:
    async def answer(seed: int) -> str | None:
        reply = await client.chat.completions.create(model=MODEL, messages=QUESTION, seed=seed, temperature=1)
        return reply.choices[0].message.content

    answers = [await answer(seed) for seed in (7, 7, 8)]
    assert answers[0] == answers[1] != answers[2]


async def test_n_choices_differ_and_share_one_prompt_count(client: AsyncOpenAI) -> None:
    reply = await client.chat.completions.create(model=MODEL, messages=QUESTION, n=3, seed=1, temperature=1)
    single = await client.chat.completions.create(model=MODEL, messages=QUESTION, n=1, seed=1, temperature=1)
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in reply.choices}) == 3
    assert reply.choices[0].message.content == single.choices[0].message.content
    assert reply.usage and single.usage
    assert reply.usage.prompt_tokens == single.usage.prompt_tokens
    assert reply.usage.completion_tokens > single.usage.completion_tokens


async def test_an_answer_ends_before_its_stop_string(client: AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0)
    text = whole.choices[0].message.content or ""
    stop = text[40:47]
    cut = await client.chat.completions.create(
        model=MODEL, messages=QUESTION, temperature=0, stop=["never said", stop]
    )
    choice = cut.choices[0]
    assert choice.message.content == text[: text.index(stop)]
    assert choice.finish_reason == "stop"
    assert choice.model_extra and choice.model_extra["stop_reason"] == stop


async def test_a_stop_string_never_leaks_from_a_stream(client: AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0)
    text = whole.choices[0].message.content or ""
    for start in range(10, 60, 7):
        stop = text[start : start + 9]
        stream = await client.chat.completions.create(
            model=MODEL, messages=QUESTION, temperature=0, stream=True, stop=stop
        )
        seen = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        assert seen == text[: text.index(stop)]


async def test_logprobs_spell_the_answer_and_are_sorted(client: AsyncOpenAI) -> None:
    reply = await client.chat.completions.create(
        model=MODEL, messages=QUESTION, temperature=0, max_tokens=12, logprobs=True, top_logprobs=4
    )
    choice = reply.choices[0]
    assert choice.logprobs and choice.logprobs.content
    raw = b"".join(bytes(token.bytes or []) for token in choice.logprobs.content)
    assert raw.decode() == choice.message.content
    for token in choice.logprobs.content:
        best = [one.logprob for one in token.top_logprobs]
        assert len(best) == 4 and best == sorted(best, reverse=True)
        assert token.logprob == best[0] <= 0
        assert sum(map(math.exp, best)) <= 1.000001


async def test_a_second_turn_sees_the_first(client: AsyncOpenAI) -> None:
    longer = [*QUESTION, {"role": "assistant", "content": "No."}, {"role": "user", "content": "Hello!"}]
    reply = await client.chat.completions.create(model=MODEL, messages=longer, temperature=0)
    first = await client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0)
    assert reply.usage and first.usage
    assert reply.usage.prompt_tokens > first.usage.prompt_tokens
    assert reply.choices[0].message.content != first.choices[0].message.content


async def test_content_may_come_in_parts(client: AsyncOpenAI) -> None:
    parts: list[Any] = [{"role": "user", "content": [{"type": "text", "text": QUESTION[0]["content"]}]}]
    whole = await client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0)
    reply = await client.chat.completions.create(model=MODEL, messages=parts, temperature=0)
    assert reply.choices[0].message.content == whole.choices[0].message.content

"""The stub model server is accepted by the real client, or peers would be measured against something unreal."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from openai import AsyncOpenAI, BadRequestError

from benchmarks.upstream import MODEL, PROMPT_TOKENS, WORD, serve


@pytest.fixture
async def client() -> AsyncIterator[AsyncOpenAI]:
    server = await serve(port=0, pace_seconds=0.001)
    port = server.sockets[0].getsockname()[1]
    async with AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0) as sdk:
        yield sdk
    server.close()


MESSAGES = [{"role": "user", "content": "Sing."}]


async def test_a_plain_call_says_as_many_words_as_asked_and_reports_them(client: AsyncOpenAI) -> None:
    reply = await client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=5)
    assert reply.choices[0].message.content == WORD * 5
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (PROMPT_TOKENS, 5)


async def test_a_stream_has_one_chunk_per_token_and_no_usage_unless_asked(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=5, stream=True)
    chunks = [chunk async for chunk in stream]
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", *[WORD] * 5]
    assert chunks[-1].choices[0].finish_reason == "length"
    assert all(chunk.usage is None for chunk in chunks)


async def test_usage_in_a_stream_comes_once_at_the_end_or_running_as_asked(client: AsyncOpenAI) -> None:
    async def counts(**options: bool) -> list[int | None]:
        stream = await client.chat.completions.create(
            model=MODEL, messages=MESSAGES, max_tokens=3, stream=True, stream_options=options
        )
        return [chunk.usage.completion_tokens if chunk.usage else None async for chunk in stream]

    assert await counts(include_usage=True) == [None, None, None, None, 3]
    assert await counts(include_usage=True, continuous_usage_stats=True) == [0, 1, 2, 3, 3]


async def test_routers_find_the_model_the_health_and_the_load(client: AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == [MODEL]
    await client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=7)
    origin = str(client.base_url).removesuffix("/v1/")
    health = await client.with_options(base_url=origin).get("/health", cast_to=str)
    metrics = await client.with_options(base_url=origin).get("/metrics", cast_to=str)
    assert health == ""
    assert 'vllm:num_requests_running{model_name="bench",engine="0"} 0' in metrics
    assert 'vllm:generation_tokens_total{model_name="bench",engine="0"} 7' in metrics


async def test_a_broken_body_is_answered_and_not_dropped(client: AsyncOpenAI) -> None:
    with pytest.raises(BadRequestError):
        await client.post("/chat/completions", body=[1], cast_to=object)

"""Streams on vLLM's wire: running usage, fingerprint, multi-byte characters, disconnects."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import httpx2
import pytest

from tests.demo.reading import frames, metric, until

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "Tell me a story about an owl."}], "stream": True}


async def stream_of(http: httpx2.AsyncClient, path: str, **body: Any) -> list[dict[str, Any]]:
    async with http.stream("POST", path, json=body) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        return await frames(response)


async def test_running_usage_grows_by_one_token_per_chunk_and_choice(http: httpx2.AsyncClient) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    chunks = await stream_of(http, "/v1/chat/completions", **CHAT, n=2, max_tokens=20, stream_options=options)
    last = chunks.pop()
    assert last["choices"] == [] and last["system_fingerprint"] == "tern-demo-backend"
    totals = []
    for index in (0, 1):
        own = [chunk for chunk in chunks if chunk["choices"][0]["index"] == index]
        counts = [chunk["usage"]["completion_tokens"] for chunk in own]
        assert counts == list(range(len(own)))
        assert all(
            chunk["usage"]["total_tokens"] == chunk["usage"]["prompt_tokens"] + chunk["usage"]["completion_tokens"]
            for chunk in own
        )
        totals.append(counts[-1])
    assert last["usage"]["completion_tokens"] == sum(totals)
    assert all("system_fingerprint" not in chunk for chunk in chunks)


async def test_usage_only_at_the_end_when_running_usage_is_not_asked_for(http: httpx2.AsyncClient) -> None:
    chunks = await stream_of(
        http, "/v1/chat/completions", **CHAT, max_tokens=5, stream_options={"include_usage": True}
    )
    assert all("usage" not in chunk for chunk in chunks[:-1])
    assert chunks[-1]["usage"]["completion_tokens"] == 5


@pytest.mark.parametrize("options", [None, {"include_usage": False, "continuous_usage_stats": True}])
async def test_no_usage_without_include_usage(http: httpx2.AsyncClient, options: dict[str, bool] | None) -> None:
    chunks = await stream_of(http, "/v1/chat/completions", **CHAT, max_tokens=5, stream_options=options)
    assert all("usage" not in chunk and chunk["choices"] for chunk in chunks)
    assert chunks[-1]["system_fingerprint"] == "tern-demo-backend"
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


async def test_a_chat_stream_opens_with_the_role(http: httpx2.AsyncClient) -> None:
    chunks = await stream_of(http, "/v1/chat/completions", **CHAT, max_tokens=2)
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1


async def test_no_chunk_holds_half_a_character(http: httpx2.AsyncClient) -> None:
    """Byte tokens of two characters are forced one after the other: each is shown only when whole."""
    text = "🦔é"
    tokens = (await http.post("/tokenize", json={"prompt": text, "return_token_strs": True})).json()
    question = {"messages": [{"role": "user", "content": "Show me a hedgehog."}], "stream": True}
    chunks = await stream_of(http, "/v1/chat/completions", **question, temperature=0)
    shown = "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks)
    assert tokens["count"] > 3, "the characters must not be single tokens, or this test shows nothing"
    assert "🦔" in shown
    assert "\ufffd" not in shown


async def test_wild_sampling_streams_the_same_text_as_it_returns_whole(http: httpx2.AsyncClient) -> None:
    for seed in range(5):
        body = {"prompt": "é", "temperature": 2, "top_p": 1, "seed": seed, "max_tokens": 60, "ignore_eos": True}
        whole = (await http.post("/v1/completions", json=body)).json()
        chunks = await stream_of(http, "/v1/completions", **body, stream=True)
        assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == whole["choices"][0]["text"]


@pytest.mark.parametrize("is_stream", [True, False])
async def test_a_disconnect_frees_the_slot_and_stops_the_counting(
    narrow_http: httpx2.AsyncClient, narrow_address: str, is_stream: bool
) -> None:
    """With one slot, a next call is served only when the abandoned one has left; 10,000 tokens
    would still be to come if it had not."""
    before = await metric(narrow_http, "vllm:generation_tokens_total")
    endless = {"prompt": ["once upon a time"] * 200, "max_tokens": 50, "ignore_eos": True, "stream": is_stream}
    await abandon(narrow_address, endless)

    async def is_idle() -> bool:
        names = ("vllm:num_requests_running", "vllm:num_requests_waiting")
        return sum([await metric(narrow_http, name) for name in names]) == 0

    await until(is_idle)
    counted = await metric(narrow_http, "vllm:generation_tokens_total")
    assert before < counted < before + 200 * 50
    await narrow_http.post("/v1/completions", json={"prompt": "a", "max_tokens": 3, "ignore_eos": True})
    assert await metric(narrow_http, "vllm:generation_tokens_total") == counted + 3


async def abandon(address: str, body: dict[str, Any]) -> None:
    """Sends the call, waits until tokens are written for it, and closes the connection."""
    async with httpx2.AsyncClient(base_url=address, timeout=60) as http:
        before = await metric(http, "vllm:generation_tokens_total")
        call = asyncio.create_task(http.post("/v1/completions", json=body))

        async def is_writing() -> bool:
            return await metric(http, "vllm:generation_tokens_total") > before

        await until(is_writing)
        call.cancel()
        with suppress(asyncio.CancelledError):
            await call

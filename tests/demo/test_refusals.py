"""What bad input gets: vLLM's error shape and wording, and the engine goes on."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import openai
import pytest

from tests.demo.reading import MODEL

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}]}


async def refused(http: httpx2.AsyncClient, path: str, body: Any) -> tuple[int, dict[str, Any]]:
    content = body if isinstance(body, bytes) else None
    response = await http.post(path, content=content) if content is not None else await http.post(path, json=body)
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == response.status_code
    return response.status_code, error


async def test_an_unknown_model_is_not_found(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="The model `other` does not exist") as caught:
        await client.chat.completions.create(model="other", **CHAT)
    assert (caught.value.type, caught.value.param) == ("NotFoundError", "model")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", None),
        (b"", None),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        (CHAT | {"max_tokens": 0}, "max_tokens"),
        (CHAT | {"max_tokens": -5}, "max_tokens"),
        (CHAT | {"temperature": -1}, "temperature"),
        (CHAT | {"top_p": 0}, "top_p"),
        (CHAT | {"n": 0}, "n"),
        (CHAT | {"top_logprobs": 30, "logprobs": True}, "top_logprobs"),
        (CHAT | {"top_logprobs": 2}, None),
        (CHAT | {"stream_options": {"include_usage": True}}, None),
    ],
)
async def test_an_invalid_body_is_a_bad_request(http: httpx2.AsyncClient, body: Any, param: str | None) -> None:
    status, error = await refused(http, "/v1/chat/completions", body)
    assert (status, error["type"], error["param"]) == (400, "Bad Request", param)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (CHAT | {"n": 2, "temperature": 0}, "n"),
        (CHAT | {"max_tokens": 100_000}, "max_tokens"),
        (CHAT | {"max_completion_tokens": 100_000}, "max_completion_tokens"),
        (CHAT | {"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        (CHAT | {"response_format": {"type": "json_object"}}, "response_format"),
        (CHAT | {"logit_bias": {"99999": 1}}, "logit_bias"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages",
        ),
    ],
)
async def test_what_cannot_be_done_is_said(http: httpx2.AsyncClient, body: Any, param: str) -> None:
    status, error = await refused(http, "/v1/chat/completions", body)
    assert (status, error["type"], error["param"]) == (400, "BadRequestError", param)


async def test_a_prompt_beyond_the_context_is_refused_as_vllm_words_it(
    narrow_http: httpx2.AsyncClient,
) -> None:
    status, error = await refused(narrow_http, "/v1/completions", {"prompt": "word " * 100})
    assert status == 400
    wording = (
        r"This model's maximum context length is 64 tokens\. However, your prompt contains \d+ input tokens, "
    )
    assert re.match(wording, error["message"])
    assert error["param"] == "input_tokens"


async def test_an_answer_is_cut_to_the_room_that_the_prompt_leaves(narrow_http: httpx2.AsyncClient) -> None:
    body = {"prompt": "Once upon a time", "max_tokens": 64, "ignore_eos": True}
    reply = (await narrow_http.post("/v1/completions", json=body)).json()
    assert reply["usage"]["total_tokens"] == 64
    assert reply["choices"][0]["finish_reason"] == "length"


async def test_token_ids_outside_the_vocabulary_are_refused(http: httpx2.AsyncClient) -> None:
    for tokens in ([5, 4096], [-1]):
        status, error = await refused(http, "/v1/completions", {"prompt": tokens})
        assert (status, error["param"]) == (400, "prompt")


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [("GET", "/v1/nothing", 404, "NotFoundError"), ("GET", "/v1/chat/completions", 405, "Method Not Allowed")],
)
async def test_unknown_paths_and_methods_have_the_same_shape(
    http: httpx2.AsyncClient, method: str, path: str, status: int, kind: str
) -> None:
    response = await http.request(method, path)
    assert response.status_code == status
    assert response.json()["error"]["type"] == kind


async def test_refusals_do_not_harm_the_next_call(client: openai.AsyncOpenAI, http: httpx2.AsyncClient) -> None:
    bodies: list[Any] = [b"{", {"messages": []}, CHAT | {"n": 0}]
    for body in bodies:
        await refused(http, "/v1/chat/completions", body)
    reply = await client.chat.completions.create(model=MODEL, **CHAT, max_tokens=3)
    assert reply.choices[0].message.content

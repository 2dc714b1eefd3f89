"""What a client of `vllm serve` sees, and of the router before it: chat, streams, usage, an end on hang-up."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from openai import OpenAI

from tests.vllm.checkpoints import DEMO
from tests.vllm.gateway import Gateway, tern_in_front_of
from tests.vllm.server import MODEL, Server, vllm_serve

MESSAGES = [{"role": "user", "content": "What is a ternary model?"}]
LONG = 900


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with vllm_serve(DEMO) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(server: Server) -> Iterator[Gateway]:
    with tern_in_front_of(server.url) as running:
        yield running


@pytest.fixture(scope="module", params=["direct", "through the router"])
def client(request: pytest.FixtureRequest, server: Server) -> Iterator[OpenAI]:
    base_url, api_key = f"{server.url}/v1", "unused"
    if request.param == "through the router":
        gateway = request.getfixturevalue("gateway")
        base_url, api_key = gateway.base_url, gateway.api_key
    with OpenAI(base_url=base_url, api_key=api_key, max_retries=0) as sdk:
        yield sdk


def test_a_checkpoint_is_served_without_a_flag_and_usage_is_exact(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]
    reply = client.chat.completions.create(
        model=MODEL, messages=MESSAGES, max_tokens=24, temperature=0, extra_body={"ignore_eos": True}
    )
    assert reply.choices[0].message.content
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage.completion_tokens == 24
    assert reply.usage.prompt_tokens > 0


def test_a_stream_says_what_the_unary_call_says_and_ends_with_usage(client: OpenAI) -> None:
    call = {"model": MODEL, "messages": MESSAGES, "max_tokens": 32, "temperature": 0}
    whole = client.chat.completions.create(**call)
    chunks = list(client.chat.completions.create(**call, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage


def test_a_client_that_hangs_up_stops_generation(client: OpenAI, server: Server) -> None:
    before = server.metric("generation_tokens_total")
    stream = client.chat.completions.create(
        model=MODEL, messages=MESSAGES, max_tokens=LONG, stream=True, extra_body={"ignore_eos": True}
    )
    for _, _chunk in zip(range(4), stream, strict=False):
        pass
    stream.close()
    wait_until_idle(server)
    generated = server.metric("generation_tokens_total") - before
    time.sleep(1)
    assert server.metric("generation_tokens_total") - before == generated
    assert 0 < generated < LONG


def wait_until_idle(server: Server, timeout_seconds: float = 30) -> None:
    give_up_at = time.monotonic() + timeout_seconds
    while server.metric("num_requests_running") > 0:
        assert time.monotonic() < give_up_at, "the engine still runs a request whose client is gone"
        time.sleep(0.05)

"""Every way an upstream can misbehave: a clear answer, nothing leaks, and what was delivered is what is billed."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from contracts.catalog import Capabilities
from contracts.usage_event import CallStatus
from router.errors import OverloadedError
from router.errors import body_of as rendered
from tests.router.conftest import MESSAGES, House


@pytest.fixture
def router_settings() -> dict[str, Any]:
    return {
        "first_byte_timeout_seconds": 0.3,
        "idle_timeout_seconds": 0.3,
        "unary_timeout_seconds": 0.5,
        "frame_limit_bytes": 100_000,
        "answer_limit_bytes": 200_000,
    }


def frames(text: str) -> list[Any]:
    """The data of each frame; the end mark as it is."""
    payloads = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [payload if payload == "[DONE]" else json.loads(payload) for payload in payloads]


WHOLE_FAULTS = [
    ("status-500", 502, "upstream_error"),
    ("status-503", 503, "server_is_overloaded"),
    ("status-429", 503, "server_is_overloaded"),
    ("status-401", 502, "upstream_error"),
    ("status-403", 502, "upstream_error"),
    ("status-302", 502, "upstream_error"),
    ("status-400", 400, "invalid_value"),
    ("status-422", 400, "invalid_value"),
    ("status-501", 400, "unsupported_endpoint"),
    ("overflow", 400, "context_length_exceeded"),
    ("garbage", 502, "upstream_error"),
    ("cut-after-3", 502, "upstream_error"),
    ("hang", 504, "upstream_timeout"),
]


@pytest.mark.parametrize(("traits", "status", "code"), WHOLE_FAULTS)
async def test_a_failed_whole_call_is_explained_and_costs_nothing(
    house: House, traits: str, status: int, code: str
) -> None:
    reply = await house.chat(traits)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (status, code)
    assert set(error) == {"message", "type", "param", "code"}
    assert "127.0.0.1" not in reply.text
    assert await house.events() == []


@pytest.mark.parametrize(("traits", "status", "code"), [fault for fault in WHOLE_FAULTS if "cut" not in fault[0]])
async def test_a_stream_that_never_began_gets_a_real_status(
    house: House, traits: str, status: int, code: str
) -> None:
    reply = await house.chat(traits, stream=True)
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    assert reply.headers["content-type"] == "application/json"
    assert await house.events() == []


@pytest.mark.parametrize("traits", ["cut-after-3", "hang-after-3", "garbage-after-3", "error-after-3"])
async def test_a_stream_that_breaks_ends_well_formed_and_is_billed_as_delivered(house: House, traits: str) -> None:
    reply = await house.chat(f"tokens-9+{traits}", stream=True)
    *content, error, done = frames(reply.text)
    assert reply.status_code == 200
    assert sum(1 for chunk in content if chunk["choices"][0]["delta"].get("content")) == 3
    assert error["error"]["code"] in ("upstream_error", "upstream_timeout")
    assert done == "[DONE]"
    assert reply.text.endswith("\n\n")
    [event] = await house.events()
    assert (event.tokens.output, event.status, event.usage_source) == (3, CallStatus.FAILED, "reported")


async def test_the_sdk_raises_what_ends_a_broken_stream(house: House) -> None:
    house.model("tokens-9+cut-after-2", name="m")
    stream = await house.sdk().chat.completions.create(model="m", messages=MESSAGES, stream=True)
    with pytest.raises(openai.APIError, match="failed while processing"):
        async for _ in stream:
            pass


async def test_a_cut_before_the_first_frame_is_no_stream(house: House) -> None:
    body = {"model": house.model("cut-after-0"), "prompt": "x", "stream": True}
    reply = await house.post(body, "/v1/completions")
    assert reply.status_code == 502
    assert await house.events() == []


async def test_a_frame_of_50_mb_ends_the_stream_at_the_cap(house: House) -> None:
    reply = await house.chat("tokens-3+long-line", stream=True)
    assert (reply.status_code, reply.json()["error"]["code"]) == (502, "upstream_error")
    await house.until(lambda: house.upstream.calls[0].ended)


async def test_an_answer_over_the_cap_is_an_error(house: House) -> None:
    reply = await house.chat("tokens-60000", max_tokens=None)
    assert (reply.status_code, reply.json()["error"]["code"]) == (502, "upstream_error")


async def test_an_answer_without_usage_is_estimated(house: House) -> None:
    reply = await house.chat("tokens-5+no-usage+first-100")
    assert reply.status_code == 200
    [event] = await house.events()
    assert event.usage_source == "estimated"
    assert event.tokens.input > 0 and event.tokens.output > 0


async def test_a_stream_without_usage_is_counted(house: House) -> None:
    reply = await house.chat("tokens-5+no-usage", stream=True)
    assert frames(reply.text)[-1] == "[DONE]"
    [event] = await house.events()
    assert (event.usage_source, event.tokens.output) == ("counted", 5)
    assert event.tokens.input > 0


async def test_an_upstream_that_cannot_report_is_not_asked_to(house: House) -> None:
    house.model("tokens-5", name="m", capabilities=Capabilities(usage_in_stream=False))
    await house.post({"model": "m", "messages": MESSAGES, "stream": True})
    assert "stream_options" not in house.upstream.calls[0].body
    [event] = await house.events()
    assert (event.usage_source, event.tokens.output) == ("counted", 5)


@pytest.mark.parametrize("traits", ["no-continuous", "spaced+no-continuous", "spaced", "crlf"])
async def test_usage_at_the_end_is_reported_whatever_its_form(house: House, traits: str) -> None:
    reply = await house.chat(f"tokens-5+{traits}", stream=True)
    chunks = frames(reply.text)
    assert chunks[-1] == "[DONE]"
    assert not [chunk for chunk in chunks[:-1] if "usage" in chunk]
    [event] = await house.events()
    assert (event.usage_source, event.tokens.input, event.tokens.output) == ("reported", 7, 5)


async def test_a_stream_cut_before_its_usage_is_counted(house: House) -> None:
    await house.chat("tokens-9+no-continuous+cut-after-4", stream=True)
    [event] = await house.events()
    assert (event.usage_source, event.tokens.output) == ("counted", 4)


async def test_running_usage_is_summed_over_choices(house: House) -> None:
    await house.chat("tokens-9+cut-after-4", stream=True, n=3)
    [event] = await house.events()
    assert (event.usage_source, event.tokens.output) == ("reported", 12)
    assert event.tokens.input == 7
    assert house.upstream.tokens_sent == 12


async def test_a_finished_stream_without_its_end_mark_gets_one(house: House) -> None:
    reply = await house.chat("tokens-3+no-done", stream=True)
    assert frames(reply.text)[-1] == "[DONE]"
    [event] = await house.events()
    assert event.status is CallStatus.OK


async def test_a_refused_connection_is_503(house: House) -> None:
    house.catalog.base_urls = ["http://127.0.0.1:1/v1"]
    reply = await house.chat("tokens-1")
    assert (reply.status_code, reply.content) == (503, rendered(OverloadedError()))


async def test_a_model_without_upstreams_is_503(house: House) -> None:
    house.catalog.base_urls = []
    reply = await house.chat("tokens-1", stream=True)
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "server_is_overloaded")
    assert reply.headers["retry-after"] == "1"

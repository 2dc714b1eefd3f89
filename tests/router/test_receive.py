"""Bytes -> Call: the few fields that decide, and the bytes that leave again."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.catalog import Operation
from router.call import render
from router.errors import InvalidCallError
from router.receive import GATEWAY_OWNED, receive

MESSAGES = [{"role": "user", "content": "hi"}]


def body_of(**fields: Any) -> bytes:
    return json.dumps({"model": "alias", "messages": MESSAGES, **fields}).encode()


def sent(body: bytes, **asks: bool) -> bytes:
    call = receive(Operation.CHAT, body)
    return render(call, "up", asks.get("usage", True), asks.get("continuous", True))


@given(
    st.dictionaries(
        st.text().filter(lambda name: name not in GATEWAY_OWNED),
        st.text() | st.integers() | st.lists(st.text()),
        max_size=5,
    ),
    st.booleans(),
)
def test_every_byte_but_the_models_name_leaves_as_it_came(extra: dict[str, Any], ascii_only: bool) -> None:
    own = ("model", "messages", "stream", "n", "best_of", "max_tokens", "max_completion_tokens", "stream_options")
    extra = {name: value for name, value in extra.items() if name not in own}
    body = json.dumps({**extra, "model": "älias", "messages": MESSAGES}, ensure_ascii=ascii_only).encode()
    call = receive(Operation.CHAT, body)
    alias = json.dumps("älias", ensure_ascii=ascii_only).encode()
    assert render(call, "up", True, True) == body.replace(alias, b'"up"')


def test_usage_is_asked_for_on_streams_only() -> None:
    assert b"stream_options" not in sent(body_of())
    options = json.loads(sent(body_of(stream=True)))["stream_options"]
    assert options == {"include_usage": True, "continuous_usage_stats": True}


def test_other_stream_options_are_kept() -> None:
    body = body_of(stream=True, stream_options={"include_usage": False, "include_obfuscation": False})
    options = json.loads(sent(body, continuous=False))["stream_options"]
    assert options == {"include_usage": True, "include_obfuscation": False}


@pytest.mark.parametrize("options", [None, {}])
def test_empty_stream_options_are_filled(options: Any) -> None:
    content = json.loads(sent(body_of(stream=True, stream_options=options)))
    assert content["stream_options"]["include_usage"] is True


def test_embeddings_do_not_stream() -> None:
    with pytest.raises(InvalidCallError) as refused:
        receive(Operation.EMBEDDING, b'{"model":"m","input":"hi","stream":true}')
    assert (refused.value.code, refused.value.param) == ("unsupported_parameter", "stream")
    assert not receive(Operation.EMBEDDING, b'{"model":"m","input":"hi","stream":false}').stream


@pytest.mark.parametrize("name", sorted(GATEWAY_OWNED))
def test_what_the_gateway_owns_is_dropped_wherever_it_stands(name: str) -> None:
    kept = {"model": "a", "messages": MESSAGES}
    for fields in ({name: 1, **kept}, {**kept, name: {"x": 1}}):
        content = json.loads(sent(json.dumps(fields).encode()))
        assert content == {"model": "up", "messages": MESSAGES}


def test_images_are_counted_and_their_data_is_not() -> None:
    data = "data:image/png;base64," + base64.b64encode(b"x" * 90_000).decode()
    parts = [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": data}}]
    call = receive(Operation.CHAT, body_of(messages=[{"role": "user", "content": parts}] * 2))
    assert call.images == 2
    assert call.input_bytes < 400


def test_images_of_the_responses_api_are_counted() -> None:
    item = {"role": "user", "content": [{"type": "input_image", "image_url": "data:" + "x" * 9000}]}
    call = receive(Operation.RESPONSE, json.dumps({"model": "m", "input": [item]}).encode())
    assert (call.images, call.input_bytes < 300) == (1, True)


def test_an_image_is_counted_however_its_name_is_written() -> None:
    part = b'{"type":"\\u0069mage_url","\\u0069mage_url":{"url":"http://x/1.png"}}'
    body = b'{"model":"m","messages":[{"role":"user","content":[' + part + b"]}]}"
    assert receive(Operation.CHAT, body).images == 1


def test_text_that_is_called_an_image_where_none_can_stand_is_bounded_as_text() -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": {"image_url": "x" * 9000}}}
    body = body_of(messages=[{"role": "assistant", "content": None, "tool_calls": [call]}])
    assert receive(Operation.CHAT, body).input_bytes == len(body)


def test_the_values_of_large_members_are_not_kept() -> None:
    assert set(receive(Operation.CHAT, body_of(tools=[{}])).members) == {"model"}


@given(st.text(), st.booleans())
def test_the_input_bound_covers_every_byte_of_text(text: str, ascii_only: bool) -> None:
    messages = [{"role": "user", "content": text}]
    body = json.dumps({"model": "m", "messages": messages}, ensure_ascii=ascii_only)
    call = receive(Operation.CHAT, body.encode(errors="surrogatepass") if ascii_only else body.encode())
    assert call.input_bytes >= len(text.encode(errors="surrogatepass"))


@pytest.mark.parametrize(
    ("prompt", "choices"),
    [("one", 3), (["one", "two"], 6), ([1, 2, 3], 3), ([[1, 2], [3]], 6)],
)
def test_every_prompt_has_its_choices(prompt: Any, choices: int) -> None:
    call = receive(Operation.COMPLETION, json.dumps({"model": "m", "prompt": prompt, "n": 3}).encode())
    assert (call.choices_per_prompt, call.choices) == (3, choices)


@pytest.mark.parametrize(("older", "newer", "most"), [(5, 7, 7), (7, 5, 7), (7, 0, 7), (None, 5, 5), (5, None, 5)])
def test_the_larger_of_two_limits_is_reserved_for(older: int | None, newer: int | None, most: int) -> None:
    body = body_of(max_tokens=older, max_completion_tokens=newer)
    assert receive(Operation.CHAT, body).max_output_tokens == most


@given(st.binary(max_size=60))
def test_no_bytes_break_it(body: bytes) -> None:
    for operation in Operation:
        try:
            receive(operation, body)
        except InvalidCallError:
            continue

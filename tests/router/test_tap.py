"""What passes the tap: the upstream's bytes, but for the model's name and usage that nobody asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.answers.tap import ChunkTap
from router.usage import UsageTally

HEAD = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "up"}
LOOKALIKES = [',"usage":{"prompt_tokens":1}}', '"usage"', "}}", '"choices":[]', '"finish_reason":"stop"', "[DONE]"]
TEXTS = st.text(max_size=12) | st.sampled_from(LOOKALIKES)


def compact(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def tap_of(include: bool = False, continuous: bool = False, choices: int = 1) -> ChunkTap:
    return ChunkTap(
        "alias",
        UsageTally(choices),
        include_usage=include,
        continuous_usage=continuous,
        choices=choices,
        frame_cap_bytes=100_000,
    )


def chunk(text: str | None, finish: str | None = None, index: int = 0, **extra: Any) -> dict[str, Any]:
    delta = {"role": "assistant"} if text is None else {"content": text}
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {**HEAD, "choices": [choice], **extra}


def usage(output: int) -> dict[str, int]:
    return {"prompt_tokens": 7, "total_tokens": 7 + output, "completion_tokens": output}


def vllm_stream(
    texts: list[str], *, include: bool, continuous: bool, fingerprint: bool = False
) -> list[dict[str, Any]]:
    """The chunks of one stream, as vLLM writes them for what was asked."""
    chunks = [chunk(None), *(chunk(text) for text in texts), chunk("", "stop")]
    for at, each in enumerate(chunks):
        if continuous:
            each["usage"] = usage(at)
    if fingerprint and not include:
        chunks[-1]["system_fingerprint"] = "fp"
    if include:
        total = {**HEAD, "choices": [], "usage": usage(len(chunks) - 1)}
        chunks.append({**total, "system_fingerprint": "fp"} if fingerprint else total)
    return chunks


def rendered(chunks: list[dict[str, Any]], model: str = "up", spaced: bool = False) -> bytes:
    named = [{**each, "model": model} for each in chunks]
    lines = [json.dumps(each).encode() if spaced else compact(each) for each in named]
    return b"".join(b"data: " + line + b"\n\n" for line in lines) + b"data: [DONE]\n\n"


def cut_at(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


@given(
    texts=st.lists(TEXTS, max_size=6),
    cuts=st.lists(st.integers(0, 10_000), max_size=8),
    asked=st.sampled_from([(False, False), (True, False), (True, True)]),
    fingerprint=st.booleans(),
    spaced=st.booleans(),
)
def test_the_client_gets_what_the_engine_would_have_sent_it(
    texts: list[str], cuts: list[int], asked: tuple[bool, bool], fingerprint: bool, spaced: bool
) -> None:
    include, continuous = asked
    tap = tap_of(include, continuous)
    sent = rendered(vllm_stream(texts, include=True, continuous=True, fingerprint=fingerprint), spaced=spaced)
    out = b"".join(tap.feed(piece) for piece in cut_at(sent, cuts)) + tap.flush()
    direct = vllm_stream(texts, include=include, continuous=continuous, fingerprint=fingerprint)
    if spaced and fingerprint and not include:
        passed = [json.loads(line[6:]) for line in out.split(b"\n\n")[:-1]]
        assert passed == [{**each, "model": "alias"} for each in direct]
    else:
        assert out + b"data: [DONE]\n\n" == rendered(direct, "alias", spaced)
    assert tap.done and tap.finished and tap.fault is None
    assert (tap.tally.input, tap.tally.output_tokens) == (7, len(texts) + 1)


@pytest.mark.parametrize("keep", ["content", "usage"])
def test_a_string_that_looks_like_usage_is_left_alone(keep: str) -> None:
    tap = tap_of()
    tap.feed(b"data: " + compact(chunk(None)) + b"\n\n")
    tricky = chunk(',"usage":{"prompt_tokens":9,"total_tokens":9,"completion_tokens":9}}')
    if keep == "usage":
        tricky["choices"][0]["delta"]["usage"] = {"prompt_tokens": 9}
    out = tap.feed(b"data: " + compact(tricky) + b"\n\n")
    assert json.loads(out[6:]) == {**tricky, "model": "alias"}
    assert not tap.tally.reported


def test_running_usage_counts_each_choice_and_each_prompt_once() -> None:
    tally = UsageTally(choices_per_prompt=2)
    for index, (read, written) in enumerate([(5, 3), (5, 4), (9, 1), (9, 2)]):
        tally.report_choice(index, read, written)
    tally.report_choice(0, 5, 6)
    assert (tally.input, tally.output_tokens) == (14, 13)


def test_details_never_exceed_what_contains_them() -> None:
    tally = UsageTally()
    tally.report_object(
        {
            "prompt_tokens": 3,
            "completion_tokens": 2,
            "prompt_tokens_details": {"cached_tokens": 99},
            "completion_tokens_details": {"reasoning_tokens": 99},
        }
    )
    assert (tally.cached_input, tally.reasoning) == (3, 2)


@pytest.mark.parametrize("count", [-1, True, "5", 2.5, None])
def test_a_count_that_is_no_natural_number_is_none(count: Any) -> None:
    tally = UsageTally()
    tally.report_object({"prompt_tokens": count, "completion_tokens": count})
    assert tally.tokens().total == 0


def test_a_frame_over_the_cap_is_a_fault() -> None:
    tap = tap_of()
    assert tap.feed(b"data: " + b"x" * 200_000) == b""
    assert tap.fault is not None


def test_what_came_before_a_broken_frame_is_passed_on() -> None:
    tap = tap_of()
    good = b"data: " + compact({**chunk("hi"), "model": "alias"}) + b"\n\n"
    assert tap.feed(b"data: " + compact(chunk("hi")) + b"\n\ndata: {broken\n\n") == good
    assert tap.fault is not None


def test_comments_of_the_upstream_pass() -> None:
    tap = tap_of()
    assert tap.feed(b": keep-alive\n\n") == b": keep-alive\n\n"


@pytest.mark.parametrize("include", [True, False])
def test_a_stream_that_is_ended_early_gets_a_last_chunk(include: bool) -> None:
    tap = tap_of(include)
    tap.feed(b"data: " + compact({**chunk("hi"), "usage": usage(3)}) + b"\n\n")
    frames = [json.loads(frame[6:]) for frame in tap.closing("length").split(b"\n\n")[:-1]]
    assert frames[0]["choices"][0]["finish_reason"] == "length"
    assert all((frame["id"], frame["model"]) == ("c1", "alias") for frame in frames)
    assert [frame["usage"] for frame in frames[1:]] == ([usage(3)] if include else [])


@pytest.mark.parametrize("count", [-1, 10**12, 10**400, "7", True, 1.5, []])
@pytest.mark.parametrize("continuous", [False, True])
def test_a_usage_that_nobody_can_have_had_leaves_the_count_alone(count: Any, continuous: bool) -> None:
    """A broken server must neither spend a budget nor write a call off."""
    tap = tap_of()
    wrong = {"prompt_tokens": 7, "total_tokens": 9, "completion_tokens": count}
    for text in ("a", "b", "c"):
        content = chunk(text, usage=wrong) if continuous else chunk(text)
        tap.feed(b"data: " + compact(content) + b"\n\n")
    tap.feed(b"data: " + compact({**HEAD, "choices": [], "usage": wrong}) + b"\n\n")
    assert (tap.fault, tap.tally.output_tokens, tap.tally.reported) == (None, 3, False)

"""A whole answer: whatever its form, its own model is renamed and its usage counted."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from router.answers.whole import read_answer
from router.open_calls import OpenCall
from router.upstreams.upstreams import UpstreamFault
from router.usage import UsageTally

USUAL = '{"id":"a","object":"chat.completion","created":1,"model":"theirs","choices":[{"text":%s}],"usage":%s}'
USAGE = '{"prompt_tokens":3,"completion_tokens":5}'


def an_open_call() -> Any:
    return SimpleNamespace(call=SimpleNamespace(model="ours"), tally=UsageTally())


def read(text: str) -> tuple[str, UsageTally]:
    open_call = an_open_call()
    answer = read_answer(cast(OpenCall, open_call), text.encode())
    return answer.decode(), open_call.tally


@pytest.mark.parametrize(
    "text",
    [
        USUAL % ('"hi"', USAGE),
        json.dumps(json.loads(USUAL % ('"hi"', USAGE)), indent=1),
        USUAL % (json.dumps('"model":"theirs","usage":{"prompt_tokens":9}'), USAGE),
        USUAL % ('"model"', USAGE),
        USUAL % ('{"model":"nested"}', USAGE),
        USUAL % ('{"usage":{"prompt_tokens":9,"completion_tokens":9}}', USAGE),
        '{"choices":[{"model":"nested"}],"usage":' + USAGE + ',"model":"theirs"}',
        '{"meta":{"model":"nested"},"mod\\u0065l":"theirs","usage":' + USAGE + "}",
        '{"model":"th\\u0065irs","usage":' + USAGE + "}",
    ],
)
def test_the_answers_own_model_is_renamed_and_its_usage_counted(text: str) -> None:
    answer, tally = read(text)
    assert json.loads(answer) == {**json.loads(text), "model": "ours"}
    assert (tally.input, tally.output, tally.reported) == (3, 5, True)


@pytest.mark.parametrize("text", ['{"choices":[{"model":"nested"}]}', '{"a":1}', '{"id":"model"}'])
def test_an_answer_without_a_model_passes_untouched(text: str) -> None:
    assert read(text)[0] == text


@pytest.mark.parametrize(
    "text",
    [
        (USUAL % ('"hi"', USAGE))[:-1],
        USUAL % ("NaN", USAGE),
        USUAL % ('"hi"', USAGE + ',"model":"again"'),
        USUAL % ('"hi"', f'{USAGE},"usage":{USAGE}'),
        USUAL % ("[" * 100_000, USAGE),
        "[]",
    ],
    ids=["cut", "constant", "two_models", "two_usages", "deep", "array"],
)
def test_what_is_no_answer_is_the_upstreams_fault(text: str) -> None:
    with pytest.raises(UpstreamFault):
        read(text)

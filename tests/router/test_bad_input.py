"""What bad input gets: a clear error in OpenAI's shape, and nothing is kept."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts.api_key import KeyKind, generate
from contracts.catalog import Operation, Price
from contracts.grant import LevelKind, ModelPermission, PermissionMode, RateLimit, SpendLimit
from tests.fakes.directory import LONG_AGO
from tests.router.conftest import MESSAGES, House

CHAT = {"model": "m", "messages": MESSAGES}


def error_of(reply: Any) -> dict[str, Any]:
    """The error of a reply that keeps to the envelope."""
    content = reply.json()
    assert set(content) == {"error"}
    assert set(content["error"]) == {"message", "type", "param", "code"}
    assert isinstance(content["error"]["message"], str) and content["error"]["message"]
    assert reply.headers["x-request-id"]
    return content["error"]


@pytest.fixture
def ready_house(house: House) -> House:
    house.model("tokens-3", name="m")
    return house


@pytest.mark.parametrize(
    ("authorization", "message"),
    [
        (None, "didn't provide"),
        ("Basic abc", "Bearer"),
        ("Bearer not-a-key", "Incorrect"),
        ("Bearer " + generate(KeyKind.USER)[:-1] + "~", "Incorrect"),
        ("Bearer " + generate(KeyKind.USER), "Incorrect"),
        ("Bearer " + generate(KeyKind.ADMIN), "admin key"),
        ("Bearer \xff\xfe", "Incorrect"),
    ],
)
async def test_who_is_unknown_gets_401(ready_house: House, authorization: str | None, message: str) -> None:
    headers = {} if authorization is None else {"authorization": authorization.encode("latin-1")}
    reply = await ready_house.http.post("/v1/chat/completions", json=CHAT, headers=headers)
    assert reply.status_code == 401
    assert error_of(reply)["code"] == "invalid_api_key"
    assert message in reply.text
    assert reply.headers["www-authenticate"] == "Bearer"


async def test_a_wrong_checksum_is_refused_without_asking_the_directory(ready_house: House) -> None:
    ready_house.directory.available = False
    secret = generate(KeyKind.USER)
    wrong = secret[:-1] + ("a" if secret[-1] != "a" else "b")
    reply = await ready_house.post(CHAT, headers={"authorization": f"Bearer {wrong}"})
    assert reply.status_code == 401


async def test_revoked_and_expired_keys_get_the_answer_of_an_unknown_one(ready_house: House) -> None:
    expired = ready_house.directory.issue("2", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    ready_house.directory.revoke(ready_house.key)
    replies = [
        await ready_house.post(CHAT, headers={"authorization": f"Bearer {key}"})
        for key in (ready_house.key, expired, generate(KeyKind.USER))
    ]
    assert {reply.status_code for reply in replies} == {401}
    assert len({reply.content for reply in replies}) == 1


async def test_a_key_that_expires_is_refused_from_that_moment(ready_house: House) -> None:
    key = ready_house.directory.issue("2", expires_at=datetime.now(UTC) + timedelta(seconds=1))
    assert (await ready_house.post(CHAT, headers={"authorization": f"Bearer {key}"})).status_code == 200
    await asyncio.sleep(1.1)
    assert (await ready_house.post(CHAT, headers={"authorization": f"Bearer {key}"})).status_code == 401


@pytest.mark.parametrize("what", ["organization", "project"])
async def test_another_ones_header_is_refused(ready_house: House, what: str) -> None:
    reply = await ready_house.post(CHAT, headers={f"openai-{what}": "somebody_else"})
    assert (reply.status_code, error_of(reply)["code"]) == (401, f"mismatched_{what}")


async def test_ones_own_headers_are_accepted(ready_house: House) -> None:
    own = {"openai-organization": "org_1", "openai-project": "proj_1"}
    assert (await ready_house.post(CHAT, headers=own)).status_code == 200


async def test_without_a_directory_unknown_keys_get_503_never_401(ready_house: House) -> None:
    ready_house.directory.available = False
    reply = await ready_house.post(CHAT)
    assert reply.status_code == 503
    assert "retry-after" in reply.headers


async def test_unknown_forbidden_and_unpriced_models_do_not_exist(ready_house: House) -> None:
    ready_house.model("tokens-1", name="forbidden")
    ready_house.model("tokens-1", name="unpriced", prices=())
    future = Price(
        version="later",
        effective_from=datetime.now(UTC) + timedelta(days=1),
        input_nano_usd_per_million=1,
        output_nano_usd_per_million=1,
    )
    ready_house.model("tokens-1", name="later", prices=(future,))
    denied = ModelPermission(mode=PermissionMode.DENY_LIST, model_ids=frozenset({"forbidden"}))
    key = ready_house.directory.issue("2", permissions=(denied,))
    for model in ("unknown", "forbidden", "unpriced", "later"):
        reply = await ready_house.post({**CHAT, "model": model}, headers={"authorization": f"Bearer {key}"})
        error = error_of(reply)
        assert (reply.status_code, error["code"], error["param"]) == (404, "model_not_found", "model"), model
        told = error["message"].replace(model, "")
        assert told == "The model `` does not exist or you do not have access to it."
    assert ready_house.upstream.calls == []


async def test_free_is_an_explicit_price_of_zero(house: House) -> None:
    free = Price(
        version="free", effective_from=LONG_AGO, input_nano_usd_per_million=0, output_nano_usd_per_million=0
    )
    house.model("tokens-2", name="free", prices=(free,))
    key = house.directory.issue("2", levels={LevelKind.KEY: {"spend": (SpendLimit(limit_nano_usd=0),)}})
    reply = await house.post({**CHAT, "model": "free"}, headers={"authorization": f"Bearer {key}"})
    assert reply.status_code == 200
    assert [event.cost_nano_usd for event in await house.events()] == [0]


BAD_BODIES: list[tuple[bytes, str, str | None]] = [
    (b"", "invalid_json", None),
    (b"   ", "invalid_json", None),
    (b"[]", "invalid_json", None),
    (b'"text"', "invalid_json", None),
    (b"{", "invalid_json", None),
    (b'{"model":"m"', "invalid_json", None),
    (b'{"model":"m",}', "invalid_json", None),
    (b'{"model":"m"} {}', "invalid_json", None),
    (b"\xff\xfe{}", "invalid_json", None),
    (b'{"model":"m","messages":[{"role":"user","content":"\xff"}]}', "invalid_json", None),
    (b'{"model":"m","messages":[{}],"temperature":NaN}', "invalid_json", None),
    (b'{"model":"m","messages":[{}],"temperature":-Infinity}', "invalid_json", None),
    (b'{"model":"m","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "invalid_json", None),
    (b'{"model":"m","messages":[{}],"seed":' + b"9" * 5000 + b"}", "invalid_json", None),
    (b'{"model":"m","model":"n","messages":[{}]}', "duplicate_parameter", "model"),
    (b'{"model":"m","mod\\u0065l":"n","messages":[{}]}', "duplicate_parameter", "model"),
    (b'{"messages":[{}]}', "missing_required_parameter", "model"),
    (b'{"model":"m"}', "missing_required_parameter", "messages"),
    (b'{"model":"m","messages":null}', "missing_required_parameter", "messages"),
    (b'{"model":7,"messages":[{}]}', "invalid_type", "model"),
    (b'{"model":"","messages":[{}]}', "invalid_type", "model"),
    (b'{"model":"m","messages":"hi"}', "invalid_type", "messages"),
    (b'{"model":"m","messages":[]}', "invalid_type", "messages"),
    (b'{"model":"m","messages":["hi"]}', "invalid_type", "messages"),
    (b'{"model":"m","messages":[{}],"stream":"yes"}', "invalid_type", "stream"),
    (b'{"model":"m","messages":[{}],"stream":true,"stream_options":[]}', "invalid_type", "stream_options"),
    (b'{"model":"m","messages":[{}],"max_tokens":-1}', "invalid_value", "max_tokens"),
    (b'{"model":"m","messages":[{}],"max_tokens":1e400}', "invalid_type", "max_tokens"),
    (b'{"model":"m","messages":[{}],"max_tokens":"9"}', "invalid_type", "max_tokens"),
    (b'{"model":"m","messages":[{}],"max_tokens":true}', "invalid_type", "max_tokens"),
    (b'{"model":"m","messages":[{}],"max_tokens":99999999999}', "invalid_value", "max_tokens"),
    (b'{"model":"m","messages":[{}],"max_tokens":1000000}', "invalid_value", "max_tokens"),
    (b'{"model":"m","messages":[{}],"max_completion_tokens":-5}', "invalid_value", "max_completion_tokens"),
    (b'{"model":"m","messages":[{}],"n":0}', "invalid_value", "n"),
    (b'{"model":"m","messages":[{}],"n":1000000}', "invalid_value", "n"),
]


@pytest.mark.parametrize(("body", "code", "param"), BAD_BODIES, ids=lambda value: repr(value)[:50])
async def test_a_bad_body_gets_400_with_code_and_param(
    ready_house: House, body: bytes, code: str, param: str | None
) -> None:
    reply = await ready_house.post(body)
    error = error_of(reply)
    assert (reply.status_code, error["code"], error["param"]) == (400, code, param)
    assert error["type"] == "invalid_request_error"
    assert ready_house.upstream.calls == []


@pytest.mark.parametrize(
    ("name", "value"), [("background", True), ("previous_response_id", "resp_1"), ("conversation", {"id": "c"})]
)
async def test_a_response_that_needs_stored_state_is_refused(ready_house: House, name: str, value: Any) -> None:
    """It could not be metered, nor bounded, nor told apart from another organization's."""
    reply = await ready_house.post({"model": "m", "input": "hi", name: value}, "/v1/responses")
    error = error_of(reply)
    assert (reply.status_code, error["code"], error["param"]) == (400, "unsupported_parameter", name)


async def test_more_output_than_the_model_gives_is_refused_as_openai_does(house: House) -> None:
    """It would be reserved for at the model's limit, and could come to more."""
    house.model("tokens-1", name="m", context_window_tokens=4096, max_output_tokens=100)
    assert (await house.post({**CHAT, "max_tokens": 100})).status_code == 200
    reply = await house.post({**CHAT, "max_tokens": 101})
    error = error_of(reply)
    assert (reply.status_code, error["code"], error["param"]) == (400, "invalid_value", "max_tokens")
    assert "at most 100" in error["message"]


async def test_half_a_surrogate_is_passed_on_wherever_it_stands(ready_house: House) -> None:
    part = b'{"type":"image_url","image_url":{"url":"\\ud800"}}'
    body = b'{"model":"m","messages":[{"role":"user","content":[' + part + b"]}]}"
    assert (await ready_house.post(body)).status_code == 200


async def test_wrong_content_types_get_415(ready_house: House) -> None:
    for headers in (
        {"content-type": "text/plain"},
        {"content-type": "multipart/form-data"},
        {"content-encoding": "gzip"},
    ):
        reply = await ready_house.post(json.dumps(CHAT).encode(), headers=headers)
        assert (reply.status_code, error_of(reply)["code"]) == (415, "unsupported_media_type")
    reply = await ready_house.post(CHAT, headers={"content-type": "application/json; charset=utf-8"})
    assert reply.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("DELETE", "/v1/embeddings", "POST"),
        ("POST", "/v1/models", "GET"),
        ("DELETE", "/v1/models/m", "GET"),
        ("POST", "/health", "GET"),
    ],
)
async def test_wrong_methods_get_405_as_json(ready_house: House, method: str, path: str, allowed: str) -> None:
    reply = await ready_house.http.request(method, path)
    assert (reply.status_code, error_of(reply)["code"]) == (405, "method_not_allowed")
    assert reply.headers["allow"] == allowed


@pytest.mark.parametrize("path", ["/v1/audio/speech", "/v1", "/", "/v1/chat/completions/", "/v1/responses/r1"])
async def test_unknown_paths_get_404_as_json(ready_house: House, path: str) -> None:
    reply = await ready_house.post(CHAT, path=path)
    assert (reply.status_code, error_of(reply)["code"]) == (404, "unknown_url")


async def test_a_model_that_lacks_the_operation_says_so(house: House) -> None:
    house.model("tokens-1", name="m", operations=frozenset({Operation.EMBEDDING}))
    reply = await house.post(CHAT)
    assert (reply.status_code, error_of(reply)["code"]) == (400, "unsupported_endpoint")


async def test_a_budget_of_zero_refuses_and_forbids_retries(ready_house: House) -> None:
    codes = {
        LevelKind.ORGANIZATION: "organization_spend_limit_exceeded",
        LevelKind.PROJECT: "project_spend_limit_exceeded",
        LevelKind.USER: "user_spend_limit_exceeded",
        LevelKind.KEY: "api_key_spend_limit_exceeded",
    }
    for at, (level, code) in enumerate(codes.items()):
        key = ready_house.directory.issue(f"b{at}", levels={level: {"spend": (SpendLimit(limit_nano_usd=0),)}})
        reply = await ready_house.post(CHAT, headers={"authorization": f"Bearer {key}"})
        error = error_of(reply)
        assert (reply.status_code, error["type"], error["code"]) == (429, "insufficient_quota", code)
        assert reply.headers["x-should-retry"] == "false"
        assert "retry-after" not in reply.headers
    assert ready_house.upstream.calls == []


async def test_a_rate_limit_says_when_to_come_back(ready_house: House) -> None:
    limits = {LevelKind.PROJECT: {"rates": (RateLimit(requests_per_minute=1),)}}
    headers = {"authorization": f"Bearer {ready_house.directory.issue('r', levels=limits)}"}
    first = await ready_house.post(CHAT, headers=headers)
    assert first.headers["x-ratelimit-limit-requests"] == "1"
    assert first.headers["x-ratelimit-remaining-requests"] == "0"
    assert first.headers["x-ratelimit-reset-requests"].endswith("s")
    second = await ready_house.post(CHAT, headers=headers)
    error = error_of(second)
    assert (second.status_code, error["type"], error["code"]) == (429, "requests", "rate_limit_exceeded")
    assert 0 < float(second.headers["retry-after-ms"]) <= 60_000
    assert 0 < int(second.headers["retry-after"]) <= 60
    assert "x-should-retry" not in second.headers


async def test_a_call_larger_than_its_rate_limit_is_not_to_be_retried(ready_house: House) -> None:
    limits = {LevelKind.KEY: {"rates": (RateLimit(tokens_per_minute=10),)}}
    key = ready_house.directory.issue("t", levels=limits)
    reply = await ready_house.post(CHAT, headers={"authorization": f"Bearer {key}"})
    assert (reply.status_code, error_of(reply)["type"]) == (429, "tokens")
    assert reply.headers["x-should-retry"] == "false"

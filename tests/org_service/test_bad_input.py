"""What bad input gets: one clear error in OpenAI's envelope, nothing stored, no 500."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from org_service.edge import Edge
from org_service.metrics import Metrics
from tests.org_service.conftest import Running

PROJECTS = "/v1/organization/projects"


def check_envelope(reply: Any) -> dict[str, Any]:
    error: dict[str, Any] = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert reply.headers["x-request-id"].startswith("req_")
    return error


WRONG_BODIES: list[tuple[Any, str, str | None]] = [
    ({}, "missing_required_parameter", "name"),
    ({"name": ""}, "invalid_value", "name"),
    ({"name": 5}, "invalid_value", "name"),
    ({"name": "a\x00b"}, "invalid_value", "name"),
    ({"name": "x" * 257}, "invalid_value", "name"),
    ({"name": "ok", "geography": "eu"}, "unknown_parameter", "geography"),
    ([], "invalid_value", None),
    (None, "missing_required_parameter", None),
]


async def test_a_wrong_body_names_its_fault(org: Running) -> None:
    async with org.http() as http:
        for body, code, param in WRONG_BODIES:
            reply = await http.post(PROJECTS, json=body) if body is not None else await http.post(PROJECTS)
            assert reply.status_code == 400, body
            error = check_envelope(reply)
            assert (error["code"], error["param"]) == (code, param), body


async def test_broken_json_is_a_400(org: Running) -> None:
    async with org.http() as http:
        for content in [b"{", b"\xff\xfe", b'{"name": "\\ud800"}', b"[" * 5000, b'{"name": NaN}']:
            headers = {"content-type": "application/json"}
            reply = await http.post(PROJECTS, content=content, headers=headers)
            assert reply.status_code == 400, content
            check_envelope(reply)


async def test_a_body_over_the_limit_is_a_413(org: Running) -> None:
    async with org.http() as http:
        reply = await http.post(PROJECTS, content=b" " * (org.settings.max_body_bytes + 1))

        async def chunks() -> Any:
            for _ in range(org.settings.max_body_bytes // 65536 + 1):
                yield b" " * 65536

        chunked = await http.post(PROJECTS, content=chunks())
    assert [reply.status_code, chunked.status_code] == [413, 413]
    assert check_envelope(reply)["code"] == "request_too_large"


async def test_unknown_urls_and_wrong_methods_are_told_in_the_envelope(org: Running) -> None:
    async with org.http() as http:
        unknown = await http.get("/v1/organization/nothing")
        wrong = await http.put(PROJECTS, json={})
    assert (unknown.status_code, check_envelope(unknown)["code"]) == (404, "unknown_url")
    assert (wrong.status_code, check_envelope(wrong)["code"]) == (405, "method_not_allowed")


async def test_a_wrong_page_is_a_400(org: Running) -> None:
    async with org.http() as http:
        for query in ["limit=0", "limit=101", "limit=x", "after=%00", "order=up", "limit=-1"]:
            reply = await http.get(f"{PROJECTS}?{query}")
            assert reply.status_code == 400, query
            check_envelope(reply)


async def test_odd_ids_are_not_found(org: Running) -> None:
    async with org.http() as http:
        for project_id in ["%00", "x" * 3000, "%2e%2e", "é", "proj_' OR 1=1 --"]:
            reply = await http.get(f"{PROJECTS}/{project_id}")
            assert reply.status_code in (400, 404), project_id
            check_envelope(reply)


ABSURD: list[tuple[str, dict[str, Any], str | None]] = [
    ("/v1/organization/spend_limit", {"threshold_amount": -1}, "threshold_amount"),
    ("/v1/organization/spend_limit", {"threshold_amount": 900_000_001}, "threshold_amount"),
    ("/v1/organization/spend_limit", {"threshold_amount": 1.5}, "threshold_amount"),
    ("/v1/organization/spend_limit", {"threshold_amount": True}, "threshold_amount"),
    ("/v1/organization/spend_limit", {"threshold_amount": 1, "currency": "EUR"}, "currency"),
    ("/v1/organization/spend_limit", {"threshold_amount": 1, "interval": "year"}, "interval"),
    ("/v1/organization/limits", {"max_concurrent_requests": -1}, "max_concurrent_requests"),
    ("/v1/organization/limits", {"rates": [{"max_requests_per_1_minute": "5"}]}, None),
    ("/v1/organization/limits", {"rates": [{"model": "tpyo"}]}, "rates"),
    ("/v1/organization/limits", {"spend": [{"threshold_amount": 1}] * 2}, None),
    ("/v1/organization/admin_api_keys", {"name": "x", "expires_in_seconds": 0}, "expires_in_seconds"),
    ("/v1/organization/admin_api_keys", {"name": "x", "expires_in_seconds": 10**12}, "expires_in_seconds"),
    ("/v1/organization/upstreams", {"model": "m", "base_url": "ftp://x/v1"}, "base_url"),
    ("/v1/organization/upstreams", {"model": "m", "base_url": "http://x/"}, "base_url"),
    (
        "/v1/organization/prices",
        {"model": "m", "input_nano_usd_per_million": -1},
        "input_nano_usd_per_million",
    ),
    ("/v1/organization/models", {"id": "has space"}, "id"),
    ("/v1/organization/models", {"id": "m", "operations": ["fly"]}, None),
    ("/v1/organization/models", {"id": "m", "context_window_tokens": 1}, "max_output_tokens"),
]


async def test_absurd_limits_and_catalogs_are_refused(org: Running) -> None:
    async with org.http() as http:
        for path, body, param in ABSURD:
            reply = await http.post(path, json=body)
            assert reply.status_code == 400, (path, body)
            error = check_envelope(reply)
            assert param is None or error["param"] == param, (path, body)


async def test_what_was_sent_is_not_repeated(org: Running) -> None:
    async with org.http() as http:
        reply = await http.post("/v1/organization/upstreams", json={"model": "m", "api_key": ["canary-secret"]})
    assert reply.status_code == 400
    assert "canary" not in reply.text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(["name", "limits", "user_id", "expires_in_seconds", "model_permissions", "spend", "mode"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=JSON | st.dictionaries(FIELDS, JSON, max_size=5))
async def test_no_body_whatever_is_a_500(org: Running, body: Any) -> None:
    async with org.http() as http:
        path = f"{PROJECTS}/{org.installation.project_id}/api_keys"
        headers = {"content-type": "application/json"}
        reply = await http.post(path, content=json.dumps(body), headers=headers)
    assert reply.status_code in (200, 400, 404), reply.text
    if reply.status_code != 200:
        check_envelope(reply)


def half_of(body: bytes, admin_key: str) -> bytes:
    """A request whose body is complete as JSON, and shorter than it says."""
    head = f"POST {PROJECTS} HTTP/1.1\r\nauthorization: Bearer {admin_key}\r\ncontent-type: application/json"
    return head.encode() + b"\r\ncontent-length: %d\r\n\r\n" % (len(body) + 9) + body


async def test_a_request_whose_client_left_before_its_end_is_not_done(org: Running) -> None:
    host, _, port = org.url.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(half_of(b'{"name":"half"}', org.installation.admin_key or ""))
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await asyncio.sleep(0.2)
    async with org.http() as http:
        assert "half" not in (await http.get(PROJECTS)).text


async def test_a_body_that_does_not_arrive_gets_408() -> None:
    """Also from somebody who showed no key: the connection is not his for ever."""
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.sleep(60)

    async def send(message: Any) -> None:
        sent.append(message)

    edge = Edge(FastAPI(), Metrics(), max_body_bytes=100, body_seconds=0.05)
    await edge({"type": "http", "method": "POST", "path": PROJECTS, "headers": []}, receive, send)
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]
    assert json.loads(sent[1]["body"])["error"]["code"] == "request_timeout"

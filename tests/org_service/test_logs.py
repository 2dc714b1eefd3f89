"""Logs: one JSON object per line with a request id, and never a secret."""

from __future__ import annotations

import json
import logging

import pytest

from org_service.logs import JsonFormatter
from tests.org_service.conftest import Running


async def test_a_request_is_one_line_with_its_id_and_without_secrets(
    org: Running, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="org_service")
    async with org.http() as http:
        path = f"/v1/organization/projects/{org.installation.project_id}/api_keys"
        reply = await http.post(path, json={"name": "canary-name"})
        wrong = await http.post(path, json={"name": ["canary-name"]})
    assert (reply.status_code, wrong.status_code) == (200, 400)
    lines = [JsonFormatter().format(record) for record in caplog.records if record.name.startswith("org_service")]
    parsed = [json.loads(line) for line in lines]
    assert [line["request_id"] for line in parsed if line["event"] == "request"] == [
        reply.headers["x-request-id"],
        wrong.headers["x-request-id"],
    ]
    for secret in (reply.json()["value"], org.installation.admin_key or "", "canary"):
        assert secret not in "".join(lines)


def test_an_exception_is_told_in_one_line() -> None:
    try:
        raise ValueError("why")
    except ValueError as error:
        record = logging.LogRecord("n", logging.ERROR, "f", 1, "e", None, (ValueError, error, error.__traceback__))
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert "ValueError: why" in json.loads(line)["exception"]

"""Logs: one JSON object per line with a request id, and never a secret."""

from __future__ import annotations

import json
import logging

import pytest

from contracts.log_line import LineFormatter
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
    form = LineFormatter("org_service").format
    lines = [form(record) for record in caplog.records if record.name.startswith("org_service")]
    parsed = [json.loads(line) for line in lines]
    assert [line["request_id"] for line in parsed if line["event"] == "request"] == [
        reply.headers["x-request-id"],
        wrong.headers["x-request-id"],
    ]
    for secret in (reply.json()["value"], org.installation.admin_key or "", "canary"):
        assert secret not in "".join(lines)

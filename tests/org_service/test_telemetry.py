"""Traces: off without an endpoint, and with one a span per request and statement, without secrets or addresses."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from org_service.parts import build
from org_service.settings import Settings
from org_service.telemetry import Telemetry
from tests.org_service.conftest import Running, Template, serving


async def test_a_request_is_one_trace_with_its_statements(settings: Settings, template: Template) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    parts = replace(build(settings), telemetry=Telemetry(provider))
    async with (
        serving(settings, parts) as url,
        Running(url, settings, template.installation).http() as http,
    ):
        reply = await http.get("/v1/organization/users", params={"emails[]": "canary@example.com"})
        assert reply.json()["data"] == []
        finished = spans.get_finished_spans()
    await parts.close()
    request = next(span for span in finished if span.name.startswith("GET"))
    trace = [span for span in finished if span.context.trace_id == request.context.trace_id]
    assert len(trace) > 1
    told = "".join(span.to_json() for span in finished)
    assert "canary" not in told
    assert (template.installation.admin_key or "") not in told


def test_without_an_endpoint_no_instrumentation_is_even_imported() -> None:
    loaded = "any(name.startswith('opentelemetry.instrumentation') for name in sys.modules)"
    script = f"import sys, org_service.app; sys.exit({loaded})"
    subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=True)

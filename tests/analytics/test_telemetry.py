"""Traces: off without an endpoint, and with one a span per request and statement, without keys or filters."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from analytics.app import Deps, create_app
from analytics.telemetry import Telemetry
from tests.analytics.reporting import Admins, client_of


async def test_a_request_is_one_trace_with_its_statement(make_settings: Any) -> None:
    spans, provider, admins = InMemorySpanExporter(), TracerProvider(), Admins()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    app = create_app(make_settings(), Deps(directory=admins.directory, telemetry=Telemetry(provider)))
    async with client_of(app, admins.key("org_a")) as client:
        params = {"start_time": 100, "limit": 3, "user_ids[]": "canary"}
        reply = await client.get("/v1/organization/usage/completions", params=params)
        assert len(reply.json()["data"]) == 3, "the query must still arrive"
        await client.get("/health")
        finished = spans.get_finished_spans()
    (request,) = [span for span in finished if span.name.startswith("GET")]
    trace = [span for span in finished if span.context.trace_id == request.context.trace_id]
    assert any("usage_buckets" in span.to_json() for span in trace)
    told = "".join(span.to_json() for span in finished)
    assert "canary" not in told
    assert admins.key("org_a") not in told


def test_without_an_endpoint_no_instrumentation_is_even_imported() -> None:
    loaded = "any(name.startswith('opentelemetry.instrumentation') for name in sys.modules)"
    script = f"import sys, analytics.app, analytics.worker; sys.exit({loaded})"
    subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=True)

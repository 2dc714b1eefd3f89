"""Traces: off without an endpoint, and with one a span per call and per attempt, without a word of the prompt."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from router.telemetry import Telemetry
from tests.router.conftest import House

CANARY = "zebra-quartz-canary"


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def telemetry(spans: InMemorySpanExporter) -> Telemetry:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return Telemetry(provider)


async def test_a_call_is_one_trace_without_its_prompt(house: House, spans: InMemorySpanExporter) -> None:
    house.model("tokens-2", name="m")
    body = {"model": "m", "messages": [{"role": "user", "content": CANARY}], "stream": True}
    assert (await house.post(body)).status_code == 200
    await house.http.get("/health")
    finished = spans.get_finished_spans()
    assert len(finished) == 2
    assert len({span.context.trace_id for span in finished if span.context}) == 1
    told = "".join(span.to_json() for span in finished)
    assert CANARY not in told
    assert house.key not in told
    assert "traceparent" in house.upstream.calls[0].headers


def test_without_an_endpoint_no_instrumentation_is_even_imported() -> None:
    loaded = "any(name.startswith('opentelemetry.instrumentation') for name in sys.modules)"
    script = f"import sys, router.app; sys.exit({loaded})"
    subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=True)

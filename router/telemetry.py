"""The router's traces: a span per call, a child span per attempt on an upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from contracts.tracing import Tracing

if TYPE_CHECKING:
    import aiohttp

SERVICE_NAME: Final = "tern-router"


class Telemetry(Tracing):
    def trace_configs(self) -> list[aiohttp.TraceConfig] | None:
        """For the upstream client: a child span per attempt, and `traceparent` on its way to the engine."""
        if self.provider is None:
            return None
        from opentelemetry.instrumentation.aiohttp_client import create_trace_config

        return [create_trace_config(tracer_provider=self.provider)]

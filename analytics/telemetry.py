"""The traces of analytics: a span per request, and one for each of its statements, without their values."""

from __future__ import annotations

from typing import Any

from contracts.tracing import Tracing


class Telemetry(Tracing):
    async def trace_connection(self, connection: Any) -> None:
        """One span per statement of this connection; for a pool's `configure`."""
        if self.provider is None:
            return
        from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor

        PsycopgInstrumentor.instrument_connection(connection, tracer_provider=self.provider)

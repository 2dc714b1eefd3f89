"""Traces through OpenTelemetry's own instrumentation packages: off unless an endpoint is set; until then they are
not even imported. Spans carry methods, paths, statuses and SQL without its values; never a header or a query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.types import ASGIApp, Receive, Scope, Send

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

UNTRACED_PATHS: Final = "health,ready,metrics"
_QUERY: Final = "tern.query_string"


class Telemetry:
    """`provider` None: nothing is traced, at no cost."""

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self.provider = provider

    @classmethod
    def to(cls, endpoint: str | None, service_name: str) -> Telemetry:
        """Traces that leave for `endpoint` (OTLP over HTTP), in batches, beside the work."""
        if endpoint is None:
            return cls()
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider = TracerProvider(resource=Resource.create({"service.name": service_name}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
        return cls(provider)

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """One span per request. Its query stays out: it names people's keys and projects."""
        if self.provider is None:
            return app
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

        traced = OpenTelemetryMiddleware(
            _with_query(app),
            tracer_provider=self.provider,
            excluded_urls=UNTRACED_PATHS,
            exclude_spans=["receive", "send"],
        )
        return _without_query(traced)

    async def trace_connection(self, connection: Any) -> None:
        """One span per statement of this connection; for a pool's `configure`."""
        if self.provider is None:
            return
        from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor

        PsycopgInstrumentor.instrument_connection(connection, tracer_provider=self.provider)

    def close(self) -> None:
        """Send what is left."""
        if self.provider is not None:
            self.provider.shutdown()


def _without_query(app: ASGIApp) -> ASGIApp:
    async def outside(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "query_string": b"", _QUERY: scope["query_string"]}
        await app(scope, receive, send)

    return outside


def _with_query(app: ASGIApp) -> ASGIApp:
    async def inside(scope: Scope, receive: Receive, send: Send) -> None:
        if _QUERY in scope:
            scope = {**scope, "query_string": scope[_QUERY]}
        await app(scope, receive, send)

    return inside

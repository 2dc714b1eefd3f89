"""Traces through OpenTelemetry's own instrumentation packages: off unless an endpoint is set; until then they are
not even imported. Spans carry methods, paths, statuses and SQL without its values; never a header or a body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.types import ASGIApp, Receive, Scope, Send

if TYPE_CHECKING:
    from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
    from opentelemetry.sdk.trace import TracerProvider

SERVICE_NAME: Final = "tern-org"
UNTRACED_PATHS: Final = "health,ready,metrics"
_QUERY: Final = "tern.query_string"


class Telemetry:
    """`provider` None: nothing is traced, at no cost."""

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self.provider = provider
        self._database: AsyncPGInstrumentor | None = None

    @classmethod
    def to(cls, endpoint: str | None) -> Telemetry:
        """Traces that leave for `endpoint`, in batches, beside the requests."""
        if endpoint is None:
            return cls()
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider = TracerProvider(resource=Resource.create({"service.name": SERVICE_NAME}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
        return cls(provider)

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """One span per request, and one for each of its statements. Queries stay out: they may hold addresses."""
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

    def open(self) -> None:
        """Trace the statements of this process's database driver, until `close`."""
        if self.provider is None:
            return
        from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor

        self._database = AsyncPGInstrumentor()  # type: ignore[no-untyped-call]
        self._database.instrument(tracer_provider=self.provider)

    def close(self) -> None:
        """Send what is left."""
        if self._database is not None:
            self._database.uninstrument()
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

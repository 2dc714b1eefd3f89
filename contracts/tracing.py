"""Traces: what every service promises of its spans. Off unless an endpoint is set; until then OpenTelemetry is not
even imported, which is why this floor may name it. Spans carry methods, paths, statuses and addresses; never a
header, a body or a query, which may hold names and secrets.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]
"""An ASGI app."""
UNTRACED_PATHS: Final = "health,ready,metrics"
_QUERY: Final = "tern.query_string"


class Tracing:
    """`provider` None: nothing is traced, at no cost."""

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self.provider = provider

    @classmethod
    def to(cls, endpoint: str | None, service_name: str) -> Self:
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

    def wrap(self, app: App) -> App:
        """One span per request, around everything the service does."""
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

    def close(self) -> None:
        """Send what is left."""
        if self.provider is not None:
            self.provider.shutdown()


def _without_query(app: App) -> App:
    """Spans carry the whole URL; the query is kept where they do not look."""

    async def outside(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope = {**scope, "query_string": b"", _QUERY: scope["query_string"]}
        await app(scope, receive, send)

    return outside


def _with_query(app: App) -> App:
    async def inside(scope: Scope, receive: Any, send: Any) -> None:
        if _QUERY in scope:
            scope = {**scope, "query_string": scope[_QUERY]}
        await app(scope, receive, send)

    return inside

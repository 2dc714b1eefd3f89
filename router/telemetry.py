"""Traces through OpenTelemetry's own instrumentation packages: off unless an endpoint is set; until then they are
not even imported. Spans carry methods, paths, statuses and addresses; never a header, a prompt or an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Receive, Scope, Send

if TYPE_CHECKING:
    import aiohttp
    from opentelemetry.sdk.trace import TracerProvider

SERVICE_NAME = "tern-router"
UNTRACED_PATHS = "health,ready,metrics"


class Telemetry:
    """`provider` None: nothing is traced, at no cost."""

    def __init__(self, provider: TracerProvider | None) -> None:
        self.provider = provider

    @classmethod
    def to(cls, endpoint: str | None) -> Telemetry:
        """Traces that leave for `endpoint`, in batches, beside the calls."""
        if endpoint is None:
            return cls(None)
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider = TracerProvider(resource=Resource.create({"service.name": SERVICE_NAME}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
        return cls(provider)

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """One span per call, around everything the router does."""
        if self.provider is None:
            return app
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

        traced = OpenTelemetryMiddleware(
            app,
            tracer_provider=self.provider,
            excluded_urls=UNTRACED_PATHS,
            exclude_spans=["receive", "send"],
        )
        return without_query(traced)

    def trace_configs(self) -> list[aiohttp.TraceConfig] | None:
        """For the upstream client: a child span per attempt, and `traceparent` on its way to the engine."""
        if self.provider is None:
            return None
        from opentelemetry.instrumentation.aiohttp_client import create_trace_config

        return [create_trace_config(tracer_provider=self.provider)]

    def close(self) -> None:
        """Send what is left."""
        if self.provider is not None:
            self.provider.shutdown()


def without_query(app: ASGIApp) -> ASGIApp:
    """Spans carry the whole URL. What a client puts behind the `?` is nobody's business; nothing here reads it."""

    async def traced(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "query_string": b""} if scope["type"] == "http" else scope, receive, send)

    return traced

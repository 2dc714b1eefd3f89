"""The org service's traces: a span per request, and one for each of its statements, without their values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from contracts.tracing import Tracing

if TYPE_CHECKING:
    from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor

SERVICE_NAME: Final = "tern-org"


class Telemetry(Tracing):
    _database: AsyncPGInstrumentor | None = None

    def open(self) -> None:
        """Trace the statements of this process's database driver, until `close`."""
        if self.provider is None:
            return
        from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor

        self._database = AsyncPGInstrumentor()  # type: ignore[no-untyped-call]
        self._database.instrument(tracer_provider=self.provider)

    def close(self) -> None:
        if self._database is not None:
            self._database.uninstrument()
        super().close()

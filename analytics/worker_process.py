"""The worker as a process of its own: signals, and its own /health, /ready and /metrics."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from analytics.settings import Settings
from analytics.worker import Worker


async def work(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT, which let the batch under way finish."""
    worker = Worker(settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop)
    server = _ProbeServer(
        uvicorn.Config(
            _probes(worker),
            host=settings.listen_host,
            port=settings.worker_listen_port,
            log_config=None,
            access_log=False,
        )
    )
    serving = asyncio.create_task(server.serve())
    try:
        await worker.run()
    finally:
        server.should_exit = True
        await serving


class _ProbeServer(uvicorn.Server):
    """Leaves the signals to the worker, which decides when both end."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _probes(worker: Worker) -> Starlette:
    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_: Request) -> Response:
        return JSONResponse({"status": "ready" if worker.ready else "waiting"}, 200 if worker.ready else 503)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(worker.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/health", health), Route("/ready", ready), Route("/metrics", metrics)])

"""`python -m router` serves; `python -m router --check-config` says what it would serve with, and leaves."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import signal
import socket
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Final

import uvicorn
import uvloop

from contracts.environment import ConfigurationError, shown
from contracts.log_line import log_to
from router.app import RouterApp, create_app
from router.guarded_protocol import GuardedProtocol
from router.log import SERVICE
from router.settings import Settings, load

EXIT_BAD_CONFIG: Final = 2
COLLECT_AFTER: Final = (20_000, 20, 20)
LAST_SECONDS: Final = 2.0
"""Of the grace time: enough to end and settle what still runs."""


class Server(uvicorn.Server):
    """On the first signal: unready, then no new connections, then calls finish; what is left is ended well-formed
    before the grace time is over. A second signal does not wait."""

    def __init__(self, config: uvicorn.Config, app: RouterApp) -> None:
        super().__init__(config)
        self._app = app
        self._leaving: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        collect_less()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._leaving is not None:
            self.force_exit = self.should_exit = True
            return
        self._leaving = asyncio.get_running_loop().create_task(self._leave())

    async def _leave(self) -> None:
        settings = self._app.settings
        self._app.drain()
        await asyncio.sleep(settings.drain_seconds)
        self.should_exit = True
        await asyncio.sleep(max(settings.grace_seconds - LAST_SECONDS, 0.0))
        self._app.stop_streams()


def collect_less() -> None:
    """What was imported lives as long as the process: take it out of the collector's sight, and let the young
    objects of many calls pass before it looks again. Otherwise a tenth of the router's CPU goes there."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def serve(settings: Settings) -> None:
    """Accepted connections inherit the listener's patience with a peer that acknowledges nothing: what was written
    for a client that reads no more is then dropped by the kernel."""
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.listen_host,
        port=settings.listen_port,
        loop="uvloop",
        http=GuardedProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        backlog=4096,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=max(1, round(settings.grace_seconds)),
    )
    listener = config.bind_socket()
    stall_ms = round(settings.client_stall_timeout_seconds * 1000)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, stall_ms)
    uvloop.run(Server(config, app).serve(sockets=[listener]))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m router", description="The data plane of Tern.")
    parser.add_argument("--check-config", action="store_true", help="validate the settings, print them, leave")
    arguments = parser.parse_args()
    try:
        settings = load()
    except ConfigurationError as error:
        sys.stderr.write(f"router: {error}\n")
        sys.exit(EXIT_BAD_CONFIG)
    if arguments.check_config:
        sys.stdout.write(shown(settings) + "\n")
        return
    log_to(sys.stderr, SERVICE, settings.log_level)
    serve(settings)


if __name__ == "__main__":
    main()

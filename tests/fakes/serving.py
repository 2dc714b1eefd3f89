"""Any ASGI app, or bytes of any kind, on a real socket in the loop of the test: an in-process transport would
buffer whole bodies."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import uvicorn

STOP_SECONDS = 1.0

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class InTaskServer(uvicorn.Server):
    """A server that leaves the signals to whoever runs the loop and stops the moment it is told to: uvicorn looks
    ten times a second, and a suite that starts a thousand servers would wait for that most of its time."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._told = asyncio.Event()

    def stop(self) -> None:
        self._told.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        await self.on_tick(0)  # sets the headers of every reply
        await self._told.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110 - they have no event
                    await asyncio.sleep(0.001)
        for task in self.server_state.tasks:
            task.cancel()
        await self.lifespan.shutdown()


@contextlib.asynccontextmanager
async def served(app: Any, lifespan: bool = True, port: int = 0) -> AsyncIterator[tuple[str, InTaskServer]]:
    """Any ASGI app on a real socket in this loop; gives its address and the server."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        config = uvicorn.Config(app, log_config=None, access_log=False, ws="none")
        config.lifespan = "on" if lifespan else "off"
        server = InTaskServer(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            if task.done():
                await task
            await asyncio.sleep(0.001)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", server
        finally:
            server.stop()
            await task


@contextlib.asynccontextmanager
async def speaking(handler: Handler) -> AsyncIterator[int]:
    """The port of a server that says what the handler says. At the end every connection is cut, also one whose
    handler has not begun, and every handler is over."""
    talks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await handler(reader, writer)
        writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks[asyncio.create_task(talk(reader, writer))] = writer

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]
    for task in talks:
        task.cancel()
    await asyncio.gather(*talks, return_exceptions=True)
    for writer in talks.values():
        writer.transport.abort()
    await asyncio.sleep(0)

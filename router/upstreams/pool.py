"""Connections to upstreams, kept while idle: the latest used first, a bounded number per origin."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from router.upstreams.connection import UpstreamConnection

IDLE_SECONDS: Final = 30.0


class Origin(NamedTuple):
    host: str
    port: int
    tls: bool


class ConnectError(OSError):
    """No connection to the origin could be made."""


@dataclass(slots=True)
class _Kept:
    """What is open to one origin. A place is held by every connection in use."""

    places: asyncio.Semaphore
    idle: list[tuple[UpstreamConnection, float]] = field(default_factory=list)


class ConnectionPool:
    """Needs a running loop. `take` and `give_back` belong together; a connection that cannot be used again is cut
    when it is given back, which tells the upstream to stop."""

    def __init__(self, most_per_origin: int, connect_timeout_seconds: float) -> None:
        self._most_per_origin = most_per_origin
        self._connect_timeout_seconds = connect_timeout_seconds
        self._loop = asyncio.get_running_loop()
        self._kept: dict[Origin, _Kept] = {}
        self._tls: ssl.SSLContext | None = None
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def take(self, origin: Origin, fresh: bool = False) -> UpstreamConnection:
        """An idle connection, or a new one, which `fresh` insists on; raises ConnectError."""
        kept = self._kept.get(origin)
        if kept is None:
            kept = self._kept[origin] = _Kept(asyncio.Semaphore(self._most_per_origin))
        await kept.places.acquire()
        while kept.idle and not fresh:
            connection, _ = kept.idle.pop()
            if connection.is_open:
                return connection
        try:
            return await self._connect(origin)
        except BaseException:
            kept.places.release()
            raise

    def give_back(self, origin: Origin, connection: UpstreamConnection) -> None:
        kept = self._kept[origin]
        kept.places.release()
        if self._is_closed or not connection.is_reusable:
            return connection.abort()
        kept.idle.append((connection, self._loop.time()))
        if self._sweep_timer is None:
            self._sweep_timer = self._loop.call_later(IDLE_SECONDS, self._sweep)
        return None

    def close(self) -> None:
        """Cut what is idle; what is in use is cut when it is given back."""
        self._is_closed = True
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
            self._sweep_timer = None
        for kept in self._kept.values():
            for connection, _ in kept.idle:
                connection.abort()
            kept.idle.clear()

    async def _connect(self, origin: Origin) -> UpstreamConnection:
        if origin.tls and self._tls is None:
            self._tls = ssl.create_default_context()
        try:
            async with asyncio.timeout(self._connect_timeout_seconds):
                _, connection = await self._loop.create_connection(
                    lambda: UpstreamConnection(self._loop),
                    origin.host,
                    origin.port,
                    ssl=self._tls if origin.tls else None,
                )
        except OSError as error:
            raise ConnectError(repr(error)) from error
        return connection

    def _sweep(self) -> None:
        """Cut what was idle for too long."""
        self._sweep_timer = None
        oldest_at = self._loop.time() - IDLE_SECONDS
        for kept in self._kept.values():
            for connection, idle_at in kept.idle:
                if idle_at <= oldest_at:
                    connection.abort()
            kept.idle = [(each, idle_at) for each, idle_at in kept.idle if each.is_open]
        if any(kept.idle for kept in self._kept.values()):
            self._sweep_timer = self._loop.call_later(IDLE_SECONDS, self._sweep)

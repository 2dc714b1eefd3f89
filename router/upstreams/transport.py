"""How a call travels to an upstream. Two ways with one behaviour: lean connections of our own, and, where traces
are on, aiohttp's client, because OpenTelemetry's instrumentation knows that one.

Both ask once more where the connection was closed without a byte of an answer: a server may give up a kept one at
the very moment it is used.

Faults are OSError or aiohttp.ClientError; `Upstreams` translates them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol, cast

import aiohttp
from yarl import URL

from router.upstreams.connection import UpstreamConnection
from router.upstreams.pool import ConnectionPool, Origin


class Arrival(Protocol):
    """An answer whose status has arrived. `close` keeps the connection if the body was read to its end."""

    @property
    def status(self) -> int: ...

    @property
    def content_type(self) -> str: ...

    @property
    def at_end(self) -> bool: ...

    async def read(self) -> bytes:
        """What has arrived, at least one byte; empty at the end."""
        ...

    def close_our_half(self) -> None: ...

    def close(self) -> None: ...


class UpstreamTransport(Protocol):
    async def post(self, url: URL, body: bytes, headers: Mapping[str, str]) -> Arrival: ...

    def close(self) -> None: ...


class LeanArrival:
    """An answer on a connection of the pool."""

    __slots__ = ("_connection", "_origin", "_pool", "content_type", "read", "status")

    def __init__(self, connection: UpstreamConnection, origin: Origin, pool: ConnectionPool) -> None:
        self._connection: UpstreamConnection | None = connection
        self._origin = origin
        self._pool = pool
        self.status = connection.status
        self.content_type = connection.content_type
        self.read = connection.read

    @property
    def at_end(self) -> bool:
        return self._connection is None or self._connection.at_end

    def close_our_half(self) -> None:
        if self._connection is not None:
            self._connection.close_our_half()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.give_back(self._origin, connection)


class LeanTransport:
    """Over the connections of a pool, which it closes with itself."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._routes: dict[URL, tuple[Origin, bytes]] = {}

    async def post(self, url: URL, body: bytes, headers: Mapping[str, str]) -> Arrival:
        origin, head = self._routes.get(url) or self._route(url)
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        request = b"%s%scontent-length: %d\r\n\r\n%s" % (head, lines.encode("latin-1"), len(body), body)
        connection = await self._pool.take(origin)
        try:
            return await self._ask(connection, origin, request)
        except ConnectionError:
            if not connection.is_untouched:
                raise
        return await self._ask(await self._pool.take(origin, fresh=True), origin, request)

    def close(self) -> None:
        self._pool.close()

    async def _ask(self, connection: UpstreamConnection, origin: Origin, request: bytes) -> Arrival:
        try:
            await connection.ask(request)
        except BaseException:
            connection.abort()
            self._pool.give_back(origin, connection)
            raise
        return LeanArrival(connection, origin, self._pool)

    def _route(self, url: URL) -> tuple[Origin, bytes]:
        if url.host is None or url.port is None:
            raise ConnectionError("the upstream's address has no host")
        head = f"POST {url.raw_path_qs} HTTP/1.1\r\nhost: {url.host_port_subcomponent}\r\n"
        route = Origin(url.host, url.port, url.scheme == "https"), head.encode("latin-1")
        self._routes[url] = route
        return route


class TracedArrival:
    """An answer that came by aiohttp."""

    __slots__ = ("_content", "_response", "content_type", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._content = response.content
        self.status = response.status
        self.content_type: str = response.headers.get("content-type", "")

    async def read(self) -> bytes:
        """aiohttp tells of a broken connection before it gives what came until then; here it comes first."""
        try:
            return await self._content.readany()
        except (aiohttp.ClientError, OSError):
            if data := self._content._read_nowait(-1):
                return data
            raise

    @property
    def at_end(self) -> bool:
        return self._content.at_eof()

    def close_our_half(self) -> None:
        connection = self._response.connection
        transport = cast("asyncio.WriteTransport | None", connection.transport if connection else None)
        if transport is not None and transport.can_write_eof():
            transport.write_eof()

    def close(self) -> None:
        self._response.close()


class TracedTransport:
    """The session is the caller's and carries the trace configuration."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def post(self, url: URL, body: bytes, headers: Mapping[str, str]) -> Arrival:
        try:
            return await self._post(url, body, headers)
        except aiohttp.ServerDisconnectedError:
            return await self._post(url, body, headers)

    async def _post(self, url: URL, body: bytes, headers: Mapping[str, str]) -> Arrival:
        return TracedArrival(await self._session.post(url, data=body, headers=headers, allow_redirects=False))

    def close(self) -> None:
        """The session is closed by its owner."""

"""One lean connection to a Redis node, for the ledger's hot path.

Commands asked for within one tick of the event loop leave in one write, and replies are matched first in, first
out. Against redis-py this saves two thirds of the router's CPU per script call (docs/adr has the figures), which
is the largest single cost of a call after HTTP itself; everything off the hot path uses redis-py.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast
from urllib.parse import unquote, urlsplit

import hiredis

Argument: TypeAlias = str | bytes | int
DEFAULT_PORT: Final = 6379
SECOND_LOOK_SECONDS: Final = 0.01


class ConnectionLostError(Exception):
    """The connection broke or a reply is overdue; what became of the commands in flight is unknown."""


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where a node listens and how to log in. `path` is a Unix socket and wins over host and port."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    path: str | None = None
    username: str | None = None
    password: str | None = None
    database: int = 0
    tls: bool = False

    @classmethod
    def from_url(cls, url: str) -> RedisAddress:
        """redis://[user:password@]host[:port][/database], rediss:// with TLS, unix:///path."""
        parts = urlsplit(url)
        if parts.scheme not in ("redis", "rediss", "unix"):
            raise ValueError("a Redis address starts with redis://, rediss:// or unix://")
        username = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else None
        if parts.scheme == "unix":
            return cls(path=unquote(parts.path), username=username, password=password)
        return cls(
            host=parts.hostname or "127.0.0.1",
            port=parts.port or DEFAULT_PORT,
            username=username,
            password=password,
            database=int(parts.path.strip("/") or 0),
            tls=parts.scheme == "rediss",
        )

    def login(self) -> list[tuple[Argument, ...]]:
        """The commands that a new connection starts with."""
        commands: list[tuple[Argument, ...]] = []
        if self.password is not None:
            commands.append(("AUTH", self.username or "default", self.password))
        if self.database:
            commands.append(("SELECT", self.database))
        return commands


class RedisConnection(asyncio.Protocol):
    """Use `RedisConnection.open`. Error replies are returned (hiredis.ReplyError), not raised."""

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout_seconds: float) -> None:
        self._loop = loop
        self._timeout_seconds = timeout_seconds
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._unsent: list[bytes] = []
        self._waiting: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._watchdog: asyncio.TimerHandle | None = None
        self.lost: asyncio.Future[None] = loop.create_future()
        """Done once the connection is gone."""

    @classmethod
    async def open(cls, address: RedisAddress, timeout_seconds: float) -> RedisConnection:
        """Connect and log in; raises ConnectionLostError within about `timeout_seconds`."""
        loop = asyncio.get_running_loop()
        connection = cls(loop, timeout_seconds)
        try:
            async with asyncio.timeout(timeout_seconds):
                await connection._connect(address)
        except (OSError, TimeoutError) as error:
            connection.close()
            raise ConnectionLostError(f"cannot connect to Redis: {error}") from error
        for command in address.login():
            reply = await connection.request(*command)
            if isinstance(reply, hiredis.ReplyError):
                connection.close()
                raise ConnectionLostError(f"Redis refuses {command[0]!r}: {reply}")
        return connection

    async def _connect(self, address: RedisAddress) -> None:
        if address.path is not None:
            await self._loop.create_unix_connection(lambda: self, address.path)
            return
        context = ssl.create_default_context() if address.tls else None
        await self._loop.create_connection(lambda: self, address.host, address.port, ssl=context)

    def request(self, *command: Argument) -> asyncio.Future[Any]:
        """Send one command with the others of this tick; the future holds its reply or ConnectionLostError."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if self.lost.done() or self._transport is None:
            future.set_exception(ConnectionLostError("the connection to Redis is gone"))
            return future
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(hiredis.pack_command(command))  # type: ignore[arg-type]
        self._waiting.append((future, self._loop.time()))
        return future

    def close(self) -> None:
        """Drop the connection; what is in flight fails."""
        if self._transport is not None:
            self._transport.abort()
        self._fail_waiting("the connection to Redis was closed")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                future, _ = self._waiting.popleft()
                if not future.done():
                    future.set_result(reply)
        except (hiredis.ProtocolError, IndexError):
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail_waiting(f"the connection to Redis broke: {exc or 'closed by the server'}")

    def _flush(self) -> None:
        if self._transport is not None and not self.lost.done():
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()
        if self._watchdog is None:
            self._watchdog = self._loop.call_later(self._timeout_seconds, self._look_for_overdue)

    def _look_for_overdue(self, suspect: asyncio.Future[Any] | None = None) -> None:
        """A reply that seems overdue may lie unread while this process was the slow one, so look twice."""
        self._watchdog = None
        if not self._waiting:
            return
        oldest, asked_at = self._waiting[0]
        due_at = asked_at + self._timeout_seconds
        if oldest is suspect:
            self.close()
        elif due_at <= self._loop.time():
            self._watchdog = self._loop.call_later(SECOND_LOOK_SECONDS, self._look_for_overdue, oldest)
        else:
            self._watchdog = self._loop.call_at(due_at, self._look_for_overdue)

    def _fail_waiting(self, reason: str) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        while self._waiting:
            future, _ = self._waiting.popleft()
            if not future.done():
                future.set_exception(ConnectionLostError(reason))
        if not self.lost.done():
            self.lost.set_result(None)

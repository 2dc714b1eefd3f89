"""The upstream servers: one HTTP client for all of them, and what is known of each one's health and load."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

import aiohttp
from yarl import URL

from contracts.catalog import Operation, Upstream
from router.ports import Candidate
from router.upstreams.pool import ConnectError, ConnectionPool
from router.upstreams.transport import Arrival, LeanTransport, TracedTransport, UpstreamTransport

LEFTOVER_SECONDS: Final = 0.6
KEEP_ALIVE_SECONDS: Final = 4.0
"""Below the 5 s after which uvicorn, and so vLLM, closes an idle connection."""


class FaultKind(StrEnum):
    CONNECT = "connect"
    CUT = "cut"
    STATUS = "status"
    GARBAGE = "garbage"
    TOO_LARGE = "too_large"
    STALLED = "stalled"


class UpstreamFault(Exception):  # noqa: N818
    """An upstream failed; another one may be asked if nothing was passed on yet. The text is for the log."""

    def __init__(self, kind: FaultKind, detail: str, overloaded: bool = False) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.overloaded = overloaded


class UpstreamState:
    """What is known of one upstream. `reported_load` is its own count at the last probe, when `load_then` of its
    calls were ours."""

    __slots__ = ("answers", "faults", "healthy", "in_flight", "lacks", "load_then", "reported_load")

    def __init__(self) -> None:
        self.healthy, self.answers = True, False
        self.in_flight = self.faults = self.reported_load = self.load_then = 0
        self.lacks: frozenset[Operation] = frozenset()

    @property
    def load(self) -> int:
        """Calls in flight there by all routers, as far as known."""
        return max(self.in_flight, self.reported_load + self.in_flight - self.load_then)


class UpstreamReply:
    """An answer whose status has arrived and whose body is read as it comes. Must be closed; until then it counts
    as in flight."""

    __slots__ = ("_arrival", "_state", "content_type", "status")

    def __init__(self, arrival: Arrival, state: UpstreamState) -> None:
        self._arrival = arrival
        self._state: UpstreamState | None = state
        self.status = arrival.status
        self.content_type = arrival.content_type

    async def read(self) -> bytes:
        """What has arrived, at least one byte; empty at the end. Raises UpstreamFault where it was cut."""
        try:
            return await self._arrival.read()
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamFault(FaultKind.CUT, repr(error)) from error

    async def read_all(self, limit_bytes: int) -> bytes:
        """The whole body; raises UpstreamFault, also where it is larger."""
        pieces: list[bytes] = []
        size = 0
        while not self._arrival.at_end:
            pieces.append(await self.read())
            size += len(pieces[-1])
            if size > limit_bytes:
                raise UpstreamFault(FaultKind.TOO_LARGE, f"more than {limit_bytes} bytes")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def leftovers(self) -> bytes:
        """Tell the upstream to stop, and give everything that it had sent by then and nobody read.

        Only our half of the connection is closed: a server takes that for a client that left, flushes and closes,
        so that no token is lost on the way. A server that goes on all the same is cut off soon after.
        """
        pieces: list[bytes] = []
        self._arrival.close_our_half()
        with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(LEFTOVER_SECONDS):
                while data := await self._arrival.read():
                    pieces.append(data)
        return b"".join(pieces)

    def close(self) -> None:
        """Keeps the connection if the body was read to its end, else cuts it: the upstream then stops."""
        self._arrival.close()
        if self._state is not None:
            self._state.in_flight -= 1
            self._state = None


class Upstreams:
    """`eject_after` faults in a row take an upstream out until a probe or an answer succeeds."""

    def __init__(self, connections: int, connect_timeout_seconds: float, eject_after: int) -> None:
        self._connections = connections
        self._connect_timeout_seconds = connect_timeout_seconds
        self._eject_after = eject_after
        self._states: dict[str, UpstreamState] = {}
        self._urls: dict[tuple[str, Operation], URL] = {}
        self._session: aiohttp.ClientSession | None = None
        self._transport: UpstreamTransport | None = None

    def open(self, trace_configs: list[aiohttp.TraceConfig] | None = None) -> None:
        """Needs a running loop. Bytes pass untouched: nothing is decompressed, no cookie is kept, no proxy of the
        environment is used."""
        connector = aiohttp.TCPConnector(
            limit=0, limit_per_host=self._connections, keepalive_timeout=KEEP_ALIVE_SECONDS
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout_seconds),
            skip_auto_headers=("user-agent", "accept", "accept-encoding", "content-type"),
            trace_configs=trace_configs,
        )
        if trace_configs:
            self._transport = TracedTransport(self._session)
        else:
            self._transport = LeanTransport(ConnectionPool(self._connections, self._connect_timeout_seconds))

    async def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
        if self._session is not None:
            await self._session.close()

    def state(self, upstream: Upstream) -> UpstreamState:
        state = self._states.get(upstream.id)
        if state is None:
            state = self._states[upstream.id] = UpstreamState()
        return state

    def candidates(self, upstreams: Iterable[Upstream]) -> list[Candidate]:
        states = [(upstream, self.state(upstream)) for upstream in upstreams]
        return [Candidate(up, state.healthy, state.load, state.lacks, state.answers) for up, state in states]

    async def send(
        self, upstream: Upstream, operation: Operation, body: bytes, headers: Mapping[str, str]
    ) -> UpstreamReply:
        """POST the call; returns once the status has arrived. Raises UpstreamFault."""
        state = self.state(upstream)
        state.in_flight += 1
        arrival = None
        try:
            arrival = await self.transport.post(self._url(upstream, operation), body, headers)
        except (aiohttp.ClientError, OSError) as error:
            raise _translated(error) from error
        finally:
            if arrival is None:
                state.in_flight -= 1
        return UpstreamReply(arrival, state)

    async def get(self, url: str, timeout_seconds: float) -> tuple[int, bytes]:
        """A small GET for probes: status and body. Raises UpstreamFault."""
        try:
            timeout = aiohttp.ClientTimeout(total=timeout_seconds)
            async with self.session.get(url, timeout=timeout, allow_redirects=False) as response:
                return response.status, await response.content.read(65536)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise UpstreamFault(FaultKind.CONNECT, repr(error)) from error

    def succeeded(self, upstream: Upstream) -> None:
        """A server that comes back may be another one, with other operations."""
        state = self.state(upstream)
        if not state.healthy:
            state.lacks = frozenset()
        state.faults = 0
        state.healthy = True

    def failed(self, upstream: Upstream, answered: bool = False) -> bool:
        """Count a fault; True if it ejected the upstream. `answered`: the fault was an error of the living server,
        of which nobody knows whether the call or the server is to blame."""
        state = self.state(upstream)
        state.answers = answered
        state.faults += 1
        ejected = state.healthy and state.faults >= self._eject_after
        state.healthy = state.healthy and not ejected
        return ejected

    def lacks(self, upstream: Upstream, operation: Operation) -> None:
        """Ask this one no more for the operation, until it was gone for a while."""
        state = self.state(upstream)
        state.lacks |= {operation}

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the upstream client is not open")
        return self._session

    @property
    def transport(self) -> UpstreamTransport:
        if self._transport is None:
            raise RuntimeError("the upstream client is not open")
        return self._transport

    def _url(self, upstream: Upstream, operation: Operation) -> URL:
        key = (upstream.base_url, operation)
        url = self._urls.get(key)
        if url is None:
            url = self._urls[key] = URL(f"{upstream.base_url.rstrip('/')}/{operation.value}", encoded=True)
        return url


def _translated(error: aiohttp.ClientError | OSError) -> UpstreamFault:
    connecting = isinstance(error, ConnectError | aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
    return UpstreamFault(FaultKind.CONNECT if connecting else FaultKind.CUT, repr(error))

"""Script calls on one Redis or a Redis Cluster: routed by shard, coalesced per tick, behind a circuit breaker.

The breaker is the connection itself. While a node's connection stands, calls go through it; a reply that is
`timeout_seconds` overdue breaks it. Without a connection every call fails at once, and one task per node keeps
trying to reconnect: only a node that answered the login and loaded the scripts counts as back, so a server that
accepts but hangs keeps the breaker open.
"""

from __future__ import annotations

import asyncio
import binascii
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import hiredis

from contracts.topology import SHARD_COUNT, shard_tag
from router.ledger.connection import Argument, ConnectionLostError, RedisAddress, RedisConnection
from router.ledger.scripts import LedgerScripts, Script
from router.ports import LedgerUnavailableError

SLOT_COUNT: Final = 16384
REDIRECTIONS: Final = 5
FIRST_RETRY_SECONDS: Final = 0.05
LAST_RETRY_SECONDS: Final = 1.0


class RedisRefusedError(LedgerUnavailableError):
    """Redis answered with an error that neither a redirection nor loading a script mends."""

    def __init__(self, reply: str) -> None:
        super().__init__(f"Redis answered: {reply}")
        self.code = reply.partition(" ")[0]


def slot_of_shard(shard: int) -> int:
    """The cluster slot of every key that carries the shard's tag."""
    return binascii.crc_hqx(shard_tag(shard)[1:-1].encode(), 0) % SLOT_COUNT


class RedisNode:
    """One server: its connection, or the task that tries to get it back."""

    def __init__(
        self,
        address: RedisAddress,
        scripts: Sequence[Script],
        timeout_seconds: float,
        on_connected: Callable[[RedisConnection], Awaitable[None]],
        on_unreachable: Callable[[], Awaitable[None]],
        on_reconnected: Callable[[], None],
    ) -> None:
        self.address = address
        self.standing: RedisConnection | None = None
        self._scripts = scripts
        self._timeout_seconds = timeout_seconds
        self._on_connected = on_connected
        self._on_unreachable = on_unreachable
        self._on_reconnected = on_reconnected
        self._first_attempt: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._keeper = asyncio.create_task(self._keep_connected(), name="redis-node")

    async def connection(self) -> RedisConnection:
        """The standing connection; raises LedgerUnavailableError at once while the breaker is open."""
        if self.standing is None and not self._first_attempt.done():
            await asyncio.shield(self._first_attempt)
        if self.standing is None:
            raise LedgerUnavailableError(f"Redis at {self.address.host}:{self.address.port} cannot be reached")
        return self.standing

    async def close(self) -> None:
        self._keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._keeper
        if not self._first_attempt.done():
            self._first_attempt.set_result(None)
        if self.standing is not None:
            self.standing.close()
            self.standing = None

    async def _keep_connected(self) -> None:
        pause_seconds, stood_before = FIRST_RETRY_SECONDS, False
        while True:
            try:
                self.standing = await self._connect()
                pause_seconds = FIRST_RETRY_SECONDS
            except ConnectionLostError:
                await self._on_unreachable()
            if not self._first_attempt.done():
                self._first_attempt.set_result(None)
            if self.standing is not None:
                if stood_before:
                    self._on_reconnected()
                stood_before = True
                await asyncio.shield(self.standing.lost)
                self.standing = None
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, LAST_RETRY_SECONDS)

    async def _connect(self) -> RedisConnection:
        connection = await RedisConnection.open(self.address, self._timeout_seconds)
        is_ready = False
        try:
            await self._load_scripts(connection)
            await self._on_connected(connection)
            is_ready = True
        finally:
            if not is_ready:
                connection.close()
        return connection

    async def _load_scripts(self, connection: RedisConnection) -> None:
        loads = [connection.request("SCRIPT", "LOAD", script.source) for script in self._scripts]
        for reply in await asyncio.gather(*loads):
            if isinstance(reply, hiredis.ReplyError):
                raise ConnectionLostError(f"Redis refuses the ledger's scripts: {reply}")


class ScriptPipeline:
    """`call` runs one script, `command` one plain command, on the node that owns the shard. One pipeline serves
    ledger and outbox.

    Both raise LedgerUnavailableError when the reply cannot be had in time.
    """

    def __init__(
        self,
        address: RedisAddress,
        *,
        cluster: bool = False,
        timeout_seconds: float = 0.5,
    ) -> None:
        self.scripts = LedgerScripts.load()
        self.on_reconnected: list[Callable[[], None]] = []
        """Called when a node stands again that had stood before: it may have crashed and lost its last moments."""
        self._address = address
        self._cluster = cluster
        self._timeout_seconds = timeout_seconds
        self._nodes: dict[tuple[str, int], RedisNode] = {}
        self._owners: list[RedisNode] = []

    async def call(self, shard: int, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        return await self._ask(shard, ("EVALSHA", script.digest, len(keys), *keys, *arguments), script)

    async def command(self, shard: int, *command: Argument) -> Any:
        return await self._ask(shard, command, None)

    async def close(self) -> None:
        for node in self._nodes.values():
            await node.close()
        self._nodes.clear()
        self._owners.clear()

    async def _ask(self, shard: int, command: tuple[Argument, ...], script: Script | None) -> Any:
        if not self._owners:
            self._owners = [self._node(self._address)] * SHARD_COUNT
        owner = self._owners[shard]
        connection = owner.standing or await owner.connection()
        try:
            reply = await connection.request(*command)
            if isinstance(reply, hiredis.ReplyError):
                return await self._retry(shard, command, reply, script)
        except ConnectionLostError as error:
            raise LedgerUnavailableError(str(error)) from error
        return reply

    async def _retry(self, shard: int, command: tuple[Argument, ...], error: Any, script: Script | None) -> Any:
        """Follow redirections and reload scripts: replies after which nothing has been done yet."""
        for _ in range(REDIRECTIONS):
            kind, *rest = str(error).split(" ")
            connection = await self._owners[shard].connection()
            if kind == "NOSCRIPT" and script is not None:
                connection.request("SCRIPT", "LOAD", script.source)
            elif kind == "MOVED":
                self._owners[shard] = self._node_at(rest[1])
                connection = await self._owners[shard].connection()
            elif kind == "ASK":
                connection = await self._node_at(rest[1]).connection()
                connection.request("ASKING")
            else:
                if kind == "READONLY":
                    connection.close()  # this node is a replica now; its address may lead to the new master
                break
            error = await connection.request(*command)
            if not isinstance(error, hiredis.ReplyError):
                return error
        raise RedisRefusedError(str(error))

    def _node_at(self, host_and_port: str) -> RedisNode:
        host, _, port = host_and_port.rpartition(":")
        return self._node(replace(self._address, host=host or self._address.host, port=int(port), path=None))

    def _node(self, address: RedisAddress) -> RedisNode:
        key = (address.path or address.host, address.port)
        if key not in self._nodes:
            self._nodes[key] = RedisNode(
                address,
                self.scripts.all(),
                self._timeout_seconds,
                self._learn_owners,
                self._learn_from_another,
                self._tell_reconnected,
            )
        return self._nodes[key]

    def _tell_reconnected(self) -> None:
        for tell in self.on_reconnected:
            tell()

    async def _learn_owners(self, connection: RedisConnection) -> None:
        """In a cluster: which node owns which shard now. Raises ConnectionLostError."""
        if not self._cluster:
            return
        ranges = await connection.request("CLUSTER", "SLOTS")
        if isinstance(ranges, hiredis.ReplyError):
            raise ConnectionLostError(f"Redis refuses CLUSTER SLOTS: {ranges}")
        for shard in range(SHARD_COUNT):
            for first, last, (host, port, *_), *_replicas in ranges:
                if first <= slot_of_shard(shard) <= last:
                    self._owners[shard] = self._node_at(f"{(host or b'').decode()}:{port}")

    async def _learn_from_another(self) -> None:
        """A node is unreachable: in a cluster, one that stands may know who took over."""
        standing = [node.standing for node in self._nodes.values() if node.standing is not None]
        with contextlib.suppress(ConnectionLostError):
            if standing:
                await self._learn_owners(standing[0])

"""A router that did not run for a while (throttled, paused) must not take its own absence for Redis's."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from router.ledger.connection import ConnectionLostError, RedisAddress, RedisConnection

TIMEOUT_SECONDS = 0.1


@dataclass
class SlowServer:
    """Accepts one connection and answers its first command when told to."""

    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    answer_now: threading.Event = field(default_factory=threading.Event)

    def serve(self) -> None:
        connection, _ = self.listener.accept()
        with connection:
            connection.recv(1024)
            self.answer_now.wait(10)
            connection.sendall(b"+PONG\r\n")
            connection.recv(1024)


@pytest.fixture
def server() -> Iterator[SlowServer]:
    slow = SlowServer()
    thread = threading.Thread(target=slow.serve)
    thread.start()
    yield slow
    slow.answer_now.set()
    thread.join()
    slow.listener.close()


async def connect(server: SlowServer) -> RedisConnection:
    return await RedisConnection.open(RedisAddress(port=server.listener.getsockname()[1]), TIMEOUT_SECONDS)


async def test_a_reply_that_came_while_the_router_was_held_up_is_not_overdue(server: SlowServer) -> None:
    connection, loop = await connect(server), asyncio.get_running_loop()
    reply = connection.request("PING")
    await asyncio.sleep(0.01)

    def hold_up() -> None:
        server.answer_now.set()
        time.sleep(TIMEOUT_SECONDS)

    loop.call_later(TIMEOUT_SECONDS / 2, hold_up)
    loop.call_soon(time.sleep, 2 * TIMEOUT_SECONDS)
    assert await reply == b"PONG"
    connection.close()


async def test_a_reply_that_does_not_come_is_given_up_soon_after_its_time(server: SlowServer) -> None:
    connection = await connect(server)
    with pytest.raises(ConnectionLostError):
        async with asyncio.timeout(50 * TIMEOUT_SECONDS):
            await connection.request("PING")

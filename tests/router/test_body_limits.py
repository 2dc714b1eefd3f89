"""Bodies that are too large or too slow: refused before they are buffered, and nothing waits for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.router.conftest import MESSAGES, House

LIMIT_BYTES = 10_000


@pytest.fixture
def router_settings() -> dict[str, Any]:
    return {"body_limit_bytes": LIMIT_BYTES, "body_timeout_seconds": 0.3}


def body_of(size_bytes: int) -> bytes:
    empty = json.dumps({"model": "model:tokens-2", "messages": MESSAGES, "user": ""}).encode()
    return empty.replace(b'"user": ""', b'"user": "' + b"x" * (size_bytes - len(empty)) + b'"')


async def test_a_body_at_the_limit_passes_and_one_byte_more_does_not(house: House) -> None:
    house.model("tokens-2")
    assert (await house.post(body_of(LIMIT_BYTES))).status_code == 200
    reply = await house.post(body_of(LIMIT_BYTES + 1))
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "request_too_large")


async def test_a_body_of_undeclared_length_is_cut_off_at_the_limit(house: House) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(50):
            yield b"x" * 1000

    headers = {"authorization": f"Bearer {house.key}", "content-type": "application/json"}
    reply = await house.http.post("/v1/chat/completions", content=pieces(), headers=headers)
    assert reply.status_code == 413
    assert reply.headers["connection"] == "close"


async def test_a_body_that_never_arrives_times_out(house: House) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n"
    head += f"authorization: Bearer {house.key}\r\n\r\n{{".encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(house.url).port)
    writer.write(head)
    async with asyncio.timeout(5):
        reply = await reader.read()
    assert reply.startswith(b"HTTP/1.1 408 ")
    writer.close()
    await writer.wait_closed()


async def test_who_is_not_known_is_refused_before_the_body_is_read(house: House) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 9000\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(house.url).port)
    writer.write(head)
    async with asyncio.timeout(5):
        assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
    writer.close()
    await writer.wait_closed()

"""Head and body leave in one write, in order, and nothing is held back for long."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from router.one_write import HeadHoldingTransport

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


class Written:
    """A transport that remembers."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.pieces.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def holding(written: Written) -> HeadHoldingTransport:
    return HeadHoldingTransport(cast(Any, written))


async def test_head_and_body_are_one_write() -> None:
    transport = holding(written := Written())
    transport.write(HEAD)
    transport.write(b"{}")
    transport.write(b"more")
    await asyncio.sleep(0)
    assert written.pieces == [HEAD + b"{}", b"more"]


async def test_a_head_alone_leaves_with_the_loops_next_turn() -> None:
    transport = holding(written := Written())
    transport.write(HEAD)
    assert written.pieces == []
    await asyncio.sleep(0)
    assert written.pieces == [HEAD]
    transport.write(b"{}")
    assert written.pieces == [HEAD, b"{}"]


async def test_a_close_leaves_nothing_behind() -> None:
    transport = holding(written := Written())
    transport.write(HEAD)
    transport.close()
    assert (written.pieces, transport.is_closing()) == ([HEAD], True)
    await asyncio.sleep(0)
    assert written.pieces == [HEAD]


async def test_two_replies_keep_their_order() -> None:
    transport = holding(written := Written())
    for body in (b"1", b"2"):
        transport.write(HEAD)
        transport.write(body)
    assert written.pieces == [HEAD + b"1", HEAD + b"2"]

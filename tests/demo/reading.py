"""Reads what the demo backend says about itself and its streams."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2

MODEL = "demo"


async def metric(http: httpx2.AsyncClient, name: str) -> float:
    """The sum of a metric's samples over their labels."""
    text = (await http.get("/metrics")).text
    lines = (line for line in text.splitlines() if line.startswith(name + "{"))
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


async def frames(response: httpx2.Response) -> list[dict[str, Any]]:
    """All `data:` frames of a stream, which must end with `[DONE]`."""
    lines = [line async for line in response.aiter_lines()]
    data = [line.removeprefix("data: ") for line in lines if line]
    assert data.pop() == "[DONE]"
    return [json.loads(frame) for frame in data]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Waits for something that must become true; the test's own timeout is the limit."""
    while not await condition():  # noqa: ASYNC110 - it waits for another process
        await asyncio.sleep(0.01)

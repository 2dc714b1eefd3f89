"""Keeping a duty running beside the requests: a failure is loud and the duty starts again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from contracts.log_line import say

log = logging.getLogger(__name__)

Duty = Callable[[], Awaitable[None]]

_RESTART_SECONDS: Final = 1.0
_STOP_SECONDS: Final = 5.0


@asynccontextmanager
async def running(name: str, duty: Duty) -> AsyncIterator[None]:
    """The duty runs while the block does."""
    task = asyncio.create_task(_forever(name, duty))
    try:
        yield
    finally:
        await _stop(task)


async def _forever(name: str, duty: Duty) -> None:
    while True:
        task = asyncio.ensure_future(duty())
        try:
            await asyncio.wait({task})
        finally:
            await _stop(task)
        say(log, logging.ERROR, "duty_failed", duty=name, error=repr(task.exception()))
        await asyncio.sleep(_RESTART_SECONDS)


async def _stop(task: asyncio.Future[None]) -> None:
    task.cancel()
    await asyncio.wait({task}, timeout=_STOP_SECONDS)

"""A contender is measured only after it was seen to relay: the right answer, and a stream that really streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from benchmarks.load import Answer, Target, open_lane
from benchmarks.process import ContenderError

TOKENS = 32
READY_SECONDS = 60.0
RETRY_SECONDS = 0.2
ANSWER_SECONDS = 10.0


async def verify(target: Target, pace_seconds: float) -> None:
    """Raises ContenderError when right answers, plain and streamed, do not come within READY_SECONDS.

    Routers take a while to find their upstream, and first calls are slow: ask until the first right answer.
    """
    await until_right(lambda: unary_fault(target), "does not relay")
    await until_right(lambda: stream_fault(target, pace_seconds), "does not stream")


async def until_right(
    fault_of_one_call: Callable[[], Awaitable[str | None]], complaint: str, patience_seconds: float = READY_SECONDS
) -> None:
    deadline = time.monotonic() + patience_seconds
    while (fault := await fault_of_one_call()) is not None:
        if time.monotonic() > deadline:
            raise ContenderError(f"{complaint}: {fault}")
        await asyncio.sleep(RETRY_SECONDS)


async def unary_fault(target: Target) -> str | None:
    try:
        return (await ask(target, stream=False)).fault(TOKENS, stream=False)
    except (OSError, TimeoutError) as failure:
        return type(failure).__name__


async def stream_fault(target: Target, pace_seconds: float) -> str | None:
    """A stream whose words all come together at its end was held back by the gateway."""
    try:
        answer = await ask(target, stream=True)
    except (OSError, TimeoutError) as failure:
        return type(failure).__name__
    if (fault := answer.fault(TOKENS, stream=True)) is not None:
        return fault
    paced = (TOKENS - 1) * pace_seconds
    return "held back until complete" if answer.ended_at - answer.first_word_at < paced / 2 else None


async def ask(target: Target, stream: bool) -> Answer:
    lane = await open_lane(target)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await lane.exchange(target.request(TOKENS, stream))
    finally:
        lane.close()

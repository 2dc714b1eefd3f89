"""A duty is started again when it fails, and stopped with its block."""

from __future__ import annotations

import asyncio
import logging

import pytest

from org_service.duty import running


async def test_a_duty_that_fails_is_loud_and_starts_again(caplog: pytest.LogCaptureFixture) -> None:
    starts = 0
    started_again = asyncio.Event()

    async def duty() -> None:
        nonlocal starts
        starts += 1
        if starts == 1:
            raise RuntimeError("once")
        started_again.set()
        await asyncio.Event().wait()

    caplog.set_level(logging.ERROR)
    async with running("example", duty):
        await asyncio.wait_for(started_again.wait(), 10)
    assert [record.getMessage() for record in caplog.records] == ["duty_failed"]


async def test_a_duty_ends_with_its_block() -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def duty() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with running("example", duty):
        await started.wait()
    assert ended.is_set()

"""Settlements that cannot reach the ledger wait on a declared volume and are replayed, idempotent by call id.

A spool is a folder of segments, one JSON event per line. The process that writes a segment holds a lock on it;
what a dead process left is replayed by whoever finds it unlocked. A line counts once it is on the disk (fsync).
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from contracts.usage_event import MalformedEventError, UsageEvent, decode, encode
from router.ports import LedgerUnavailableError

LARGEST_SPOOL_BYTES: Final = 256 * 1024 * 1024
UNREADABLE: Final = "unreadable.jsonl"


class SpoolRefusedError(LedgerUnavailableError):
    """No room or no disk: the call will be reaped at the last count recorded. Counted in `Spool.refused_total`."""


@dataclass(slots=True)
class _Batch:
    lines: list[bytes] = field(default_factory=list)
    error: OSError | None = None


@dataclass(slots=True)
class Spool:
    """`directory` must outlive the process; several replicas may share it."""

    directory: Path
    largest_bytes: int = LARGEST_SPOOL_BYTES
    waiting: int = field(default=0, init=False)
    refused_total: int = field(default=0, init=False)
    unreadable_total: int = field(default=0, init=False)
    _segment: IO[bytes] | None = field(default=None, init=False)
    _size_bytes: int = field(default=0, init=False)
    _batch: _Batch = field(default_factory=_Batch, init=False)
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def append(self, event: UsageEvent) -> None:
        """Returns once the event is on the disk; raises SpoolRefusedError. Those that wait for the disk together
        share one fsync."""
        line = encode(event) + b"\n"
        if self._size_bytes + len(line) > self.largest_bytes:
            self.refused_total += 1
            raise SpoolRefusedError("the spool of settlements is full")
        self._size_bytes += len(line)
        batch = self._batch
        batch.lines.append(line)
        async with self._writing:
            if batch is self._batch:
                self._batch = _Batch()
                await self._write(batch)
        if batch.error is not None:
            self.refused_total += 1
            raise SpoolRefusedError(f"the spool cannot be written: {batch.error}") from batch.error
        self.waiting += 1

    async def replay(self, settle: Callable[[UsageEvent], Awaitable[object]]) -> int:
        """Settle everything that waits, also what a dead process left; how many. A fault of `settle` ends the
        replay and leaves the rest for the next one."""
        async with self._writing:
            self._close_segment()
        count = 0
        for path in sorted(self.directory.glob("*.segment")):
            with path.open("rb") as segment:
                if not _lock(segment):
                    continue
                for event in self._events(segment):
                    await settle(event)
                    count += 1
                path.unlink(missing_ok=True)
        self.waiting = max(0, self.waiting - count)
        self._size_bytes = sum(path.stat().st_size for path in self.directory.glob("*.segment"))
        return count

    def close(self) -> None:
        self._close_segment()

    async def _write(self, batch: _Batch) -> None:
        try:
            await asyncio.to_thread(self._write_lines, batch.lines)
        except OSError as error:
            batch.error = error

    def _write_lines(self, lines: list[bytes]) -> None:
        while self._segment is None:
            self._segment = self._new_segment()
        self._segment.write(b"".join(lines))
        self._segment.flush()
        os.fsync(self._segment.fileno())

    def _new_segment(self) -> IO[bytes] | None:
        """A segment of our own; None if another process replayed and removed it before we held its lock."""
        self.directory.mkdir(parents=True, exist_ok=True)
        segment = (self.directory / f"{uuid.uuid4().hex}.segment").open("ab")
        if _lock(segment) and os.fstat(segment.fileno()).st_nlink:
            return segment
        segment.close()
        return None

    def _close_segment(self) -> None:
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def _events(self, segment: IO[bytes]) -> Iterator[UsageEvent]:
        for line in segment:
            if not line.endswith(b"\n"):
                return  # torn by a crash; its settlement was never acknowledged
            try:
                yield decode(json.loads(line))
            except (MalformedEventError, ValueError):
                self.unreadable_total += 1
                with (self.directory / UNREADABLE).open("ab") as unreadable:
                    unreadable.write(line)


def _lock(file: IO[bytes]) -> bool:
    """Whether the file is ours until it is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True

"""Keeps every open call alive in the ledger, and ends the calls that must not go on.

One look over all open calls per beat replaces a timer per call: a call that waits costs nothing in between.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from router.log import JsonLog
from router.open_calls import OpenCall, OpenCalls, Stop
from router.ports import ExtendOutcome, KeyDirectory, Ledger, LedgerUnavailableError


@dataclass(frozen=True, slots=True)
class Patience:
    beat_seconds: float
    first_byte_seconds: float
    idle_seconds: float
    client_stall_seconds: float
    ledger_lost_seconds: float
    ping_seconds: float


class Heartbeat:
    def __init__(
        self,
        open_calls: OpenCalls,
        ledger: Ledger,
        directory: KeyDirectory,
        patience: Patience,
        log: JsonLog,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_calls = open_calls
        self._ledger = ledger
        self._directory = directory
        self._patience = patience
        self._log = log
        self._clock = clock
        self._pings: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._patience.beat_seconds)
            await self.beat()

    async def beat(self) -> None:
        now = self._clock()
        alive = [call for call in self._open_calls if not self._ended(call, now)]
        await asyncio.gather(*(self._extend(call) for call in alive))

    def _ended(self, call: OpenCall, now: float) -> bool:
        why = self._reason_to_stop(call, now)
        if why is not None:
            self._log.info("stop", request_id=call.admission.reservation.call_id, why=why)
            call.stop(why)
        elif call.call.stream:
            self._keep_alive(call, now)
        return why is not None

    def _reason_to_stop(self, call: OpenCall, now: float) -> Stop | None:
        patience = self._patience
        if not call.call.stream:
            return Stop.DEADLINE if now > call.deadline_at else None
        if not self._directory.is_live(call.admission.reservation.grant):
            return Stop.REVOKED
        if call.sink.writing_since is not None:
            return Stop.CLIENT_STALLED if now - call.sink.writing_since > patience.client_stall_seconds else None
        silence_seconds = now - call.waiting_since
        if silence_seconds > (patience.idle_seconds if call.passed else patience.first_byte_seconds):
            return Stop.UPSTREAM_STALLED
        return None

    def _keep_alive(self, call: OpenCall, now: float) -> None:
        if call.sink.writing_since is None and now - call.sink.written_at >= self._patience.ping_seconds:
            ping = asyncio.get_running_loop().create_task(self._ping(call))
            self._pings.add(ping)
            ping.add_done_callback(self._pings.discard)

    async def _ping(self, call: OpenCall) -> None:
        """By now the call may be ending, and what it writes must come last."""
        if call.armed:
            await call.sink.ping()

    async def _extend(self, call: OpenCall) -> None:
        try:
            outcome = await self._ledger.extend(call.admission.reservation, call.counted())
        except LedgerUnavailableError:
            if call.call.stream and self._clock() - call.extended_at > self._patience.ledger_lost_seconds:
                call.stop(Stop.LEDGER_LOST)
            return
        if outcome is ExtendOutcome.EXTENDED:
            call.extended_at = self._clock()
        elif outcome is ExtendOutcome.GONE and call.call.stream:
            call.stop(Stop.LEDGER_LOST)

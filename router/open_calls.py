"""The calls that hold a reservation now, and the one way to end a call from outside of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from contracts.catalog import Model, Upstream
from contracts.pricing import Tokens, upper_bound_nano_usd
from router.call import Call
from router.ports import Reservation
from router.usage import UsageTally

LAST_ANSWER_SECONDS: Final = 0.4
"""When the client of a stream goes away while its upstream is about to answer, so long is waited for the answer:
its first tokens may be on the wire, and what was sent is what is billed."""


class Stop(StrEnum):
    """Why a call is ended before its upstream ended it."""

    CLIENT_GONE = "client_gone"
    CLIENT_STALLED = "client_stalled"
    UPSTREAM_STALLED = "upstream_stalled"
    DEADLINE = "deadline"
    REVOKED = "revoked"
    SPEND_LIMIT = "spend_limit"
    LEDGER_LOST = "ledger_lost"
    SHUTDOWN = "shutdown"


class Sink(Protocol):
    """Where a stream's bytes go. `writing_since` and `written_at` are of `time.monotonic`."""

    started: bool
    writing_since: float | None
    written_at: float

    async def ping(self) -> None:
        """A sign of life, unless something is being written."""
        ...

    async def write(self, data: bytes) -> None:
        """Pass whole frames on; sends the status first if it was not sent yet. Waits for a slow reader."""
        ...


@dataclass(frozen=True, slots=True)
class Admission:
    """An admitted call. The output figures count over all choices: what is reserved, and what can come at most."""

    model: Model
    reservation: Reservation
    input_bound_tokens: int
    reserved_output_tokens: int
    most_output_tokens: int


class OpenCall:
    """One admitted call on its way. Times are of `time.monotonic`."""

    __slots__ = (
        "admission",
        "armed",
        "call",
        "deadline_at",
        "extend_at",
        "extended_at",
        "first_byte_at",
        "held_nano_usd",
        "held_output_tokens",
        "held_tokens",
        "late_cancel",
        "passed",
        "sending",
        "sent",
        "sink",
        "started_at",
        "stopped",
        "tally",
        "task",
        "upstream",
        "waiting_since",
    )

    def __init__(
        self, call: Call, admission: Admission, sink: Sink, task: asyncio.Task[object], patience_seconds: float
    ) -> None:
        self.call = call
        self.admission = admission
        self.sink = sink
        self.task = task
        self.tally = UsageTally(call.choices_per_prompt)
        self.armed = True
        self.stopped: Stop | None = None
        self.upstream: Upstream | None = None
        self.sent = self.sending = False
        self.late_cancel: asyncio.TimerHandle | None = None
        self.passed = False
        self.first_byte_at: float | None = None
        self.started_at = self.waiting_since = self.extended_at = time.monotonic()
        self.deadline_at = self.started_at + patience_seconds
        self.hold(admission.reserved_output_tokens)
        self.held_nano_usd = admission.reservation.reserved_nano_usd
        self.held_tokens = admission.reservation.reserved_tokens

    def stop(self, why: Stop) -> None:
        """Cancel whatever the call waits for; the call then ends itself as `why` demands. Only once, and not
        once it settles."""
        if not self.armed or self.stopped is not None:
            return
        self.stopped = why
        if self.sending and why is Stop.CLIENT_GONE:
            loop = asyncio.get_running_loop()
            self.late_cancel = loop.call_later(LAST_ANSWER_SECONDS, self.task.cancel)
        else:
            self.task.cancel()

    def answered(self) -> None:
        """The upstream's status is here. Raises CancelledError if the client went away meanwhile."""
        self.sending = False
        if self.late_cancel is not None:
            self.late_cancel.cancel()
            raise asyncio.CancelledError

    def client_gone(self) -> None:
        self.stop(Stop.CLIENT_GONE)

    def take_stop(self) -> Stop | None:
        """Why this call was cancelled, if `stop` did it; the cancellation is then used up."""
        if self.stopped is not None:
            self.task.uncancel()
        return self.stopped

    def resume(self) -> None:
        """After `take_stop`: go on all the same, with another upstream."""
        self.stopped = None
        self.waiting_since = time.monotonic()

    def hold(self, output_tokens: int) -> None:
        """`extend_at` is the count at which more must be held: what can come at most needs no more."""
        self.held_output_tokens = output_tokens
        enough = output_tokens >= self.admission.most_output_tokens
        self.extend_at = output_tokens + 1 if enough else output_tokens

    def counted(self) -> Tokens:
        """What the call used so far, for the ledger's record: an input that nobody told yet is none."""
        return self.tally.tokens()

    def shortage(self) -> tuple[int, int, int]:
        """What to hold for the next stretch of output: (output tokens then held, more nano-USD, more tokens)."""
        admission = self.admission
        step = max(admission.reserved_output_tokens, 16 * self.call.choices)
        output = max(self.held_output_tokens, self.tally.output_tokens) + step
        if self.tally.output_tokens < admission.most_output_tokens:
            output = min(output, admission.most_output_tokens)
        read = self.tally.input or admission.input_bound_tokens
        amount = upper_bound_nano_usd(read, output, admission.reservation.price)
        return output, max(0, amount - self.held_nano_usd), max(0, read + output - self.held_tokens)


class OpenCalls:
    def __init__(self) -> None:
        self._open: set[OpenCall] = set()

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[OpenCall]:
        """Safe against calls that end meanwhile."""
        return iter(tuple(self._open))

    def add(self, call: OpenCall) -> None:
        """From now on the heartbeat keeps the call alive, and it may be stopped."""
        self._open.add(call)

    def remove(self, call: OpenCall) -> None:
        """The call settles: nothing stops it any more."""
        call.armed = False
        if call.late_cancel is not None:
            call.late_cancel.cancel()
        self._open.discard(call)

"""Deliveries in, rows out, and only then the acknowledgement.

    take -> judge -> record (committed) -> bury (confirmed) -> done

Whatever cannot be recorded is put aside alone, with its reason, before its delivery is acknowledged: a poison
event neither stops its neighbours nor vanishes. A crash between any two steps only means that deliveries come
again, which recording does not count twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from analytics.deliveries import DeadLetter, Decoded, Delivery, Source
from analytics.metrics import WorkerMetrics
from analytics.record import Recorded, Recorder
from contracts.usage_event import MalformedEventError, UsageEvent

EXACT_INTEGER: Final = 2**53
"""The ledger counts in doubles and is exact below this; a larger amount in one event is no usage of ours. It also
keeps a sum of very many events inside a 64-bit integer."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which events are neither too old nor from the future."""

    late: timedelta
    future: timedelta
    now: Callable[[], datetime]

    def objection(self, event: UsageEvent) -> str | None:
        """Why the event cannot be recorded, or None."""
        now = self.now()
        if event.occurred_at < now - self.late:
            return f"occurred more than {self.late.days} days ago, at {event.occurred_at.isoformat()}"
        if event.occurred_at > now + self.future:
            seconds = round(self.future.total_seconds())
            return f"occurs more than {seconds} s in the future, at {event.occurred_at.isoformat()}"
        if any(abs(amount) > EXACT_INTEGER for amount in _amounts(event)):
            return "an amount is too large to be one call's"
        return None


def _amounts(event: UsageEvent) -> Iterator[int]:
    yield from event.tokens.model_dump().values()
    yield from (event.requests, event.duration_ms, event.first_token_ms or 0)
    yield from (event.cost_nano_usd, event.cost_input_nano_usd, event.cost_cached_input_nano_usd)


@dataclass(slots=True)
class Consumer:
    """One turn after the other; what is fixed between them."""

    source: Source
    recorder: Recorder
    window: Window
    metrics: WorkerMetrics
    batch_events: int
    poll_seconds: float

    async def turn(self) -> int:
        """Take, record, bury, acknowledge; the number of events seen. Faults of source and database pass
        through, and then nothing was acknowledged."""
        deliveries = await self.source.take(self.batch_events, self.poll_seconds)
        if not deliveries:
            return 0
        events, letters = self._judge(deliveries)
        recorded = await self.recorder.record([event for event, _, _ in events])
        letters += _refused(events, recorded)
        if letters:
            await self.source.bury(letters)
            self.metrics.dead_lettered.inc(len(letters))
        await self.source.done(deliveries)
        self._count([event for event, _, _ in events], recorded)
        return len(events) + len(letters)

    def _judge(self, deliveries: list[Delivery]) -> tuple[list[_Judged], list[DeadLetter]]:
        events: list[_Judged] = []
        letters: list[DeadLetter] = []
        for delivery in deliveries:
            for decoded in delivery.decoded:
                match self._verdict(decoded):
                    case str() as reason:
                        letters.append(DeadLetter(delivery.receipt, decoded.raw, reason))
                    case event:
                        events.append((event, delivery, decoded))
        return events, letters

    def _verdict(self, decoded: Decoded) -> UsageEvent | str:
        if isinstance(decoded.outcome, MalformedEventError):
            return f"malformed: {decoded.outcome}"
        return self.window.objection(decoded.outcome) or decoded.outcome

    def _count(self, events: Sequence[UsageEvent], recorded: Recorded) -> None:
        self.metrics.recorded.inc(recorded.new)
        self.metrics.duplicates.inc(len(events) - recorded.new - len(recorded.refused))
        now = self.window.now()
        for event in events:
            self.metrics.lag_seconds.observe(max(0.0, (now - event.occurred_at).total_seconds()))


_Judged = tuple[UsageEvent, Delivery, Decoded]


def _refused(events: list[_Judged], recorded: Recorded) -> list[DeadLetter]:
    reasons = {id(refused.event): refused.reason for refused in recorded.refused}
    return [
        DeadLetter(delivery.receipt, decoded.raw, f"refused by the database: {reasons[id(event)]}")
        for event, delivery, decoded in events
        if id(event) in reasons
    ]

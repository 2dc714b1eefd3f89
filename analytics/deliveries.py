"""What the worker consumes: deliveries of usage events, from a broker or straight from the outbox."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol

from contracts.usage_event import MalformedEventError, UsageEvent, correction, decode, decode_batch


@dataclass(frozen=True, slots=True)
class Decoded:
    """One element of a delivery, as it came, with what became of it."""

    raw: bytes
    outcome: UsageEvent | MalformedEventError


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is acknowledged as one. `receipt` is the source's own."""

    receipt: Any
    decoded: tuple[Decoded, ...]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An element that can never be recorded, and why. `receipt` is that of its delivery."""

    receipt: Any
    raw: bytes
    reason: str


class Source(Protocol):
    """Deliveries, each of which comes again until it is `done`. Every method raises SourceUnavailableError when
    the server is lost; then close, open again, and everything not done comes again."""

    async def open(self) -> None: ...

    async def close(self) -> None:
        """Idempotent; what was taken and not done goes back."""
        ...

    async def take(self, limit_events: int, wait_seconds: float) -> list[Delivery]:
        """What is there, at least one delivery unless the wait ends first; stops after `limit_events` events,
        but never in the middle of a delivery."""
        ...

    async def bury(self, letters: list[DeadLetter]) -> None:
        """Returns once every letter is safe in the dead-letter queue."""
        ...

    async def done(self, deliveries: list[Delivery]) -> None:
        """Acknowledge: never to be seen again."""
        ...


def decode_message(body: bytes) -> tuple[Decoded, ...]:
    """A CloudEvents batch, event by event; a body that is no batch is one malformed element."""
    try:
        return tuple(Decoded(_encoded(element), outcome) for element, outcome in decode_batch(body))
    except (MalformedEventError, RecursionError) as error:
        return (Decoded(body, MalformedEventError(str(error))),)


def decode_entry(event: bytes | None, before: bytes | None) -> Decoded:
    """An outbox entry: an encoded event, or the settlement of a reaped call with the event charged `before`."""
    if event is None:
        return Decoded(b"", MalformedEventError("the entry has no event"))
    try:
        settled = decode(json.loads(event))
        outcome = settled if before is None else correction(settled, decode(json.loads(before)))
    except (ValueError, RecursionError) as error:
        return Decoded(event, MalformedEventError(str(error)))
    return Decoded(event, outcome)


def _encoded(element: Any) -> bytes:
    return json.dumps(element, separators=(",", ":")).encode()

"""MemoryBroker: the twin of AmqpBroker, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from contracts.usage_event import encode_batch
from router.ports import BrokerUnavailableError


@dataclass(slots=True)
class MemoryBroker:
    """`messages` are the confirmed batches. While `is_down`, nothing is confirmed."""

    messages: list[bytes] = field(default_factory=list)
    is_down: bool = False

    async def publish(self, events: Sequence[bytes]) -> None:
        if self.is_down:
            raise BrokerUnavailableError("the broker is down")
        self.messages.append(encode_batch(events))

    async def close(self) -> None:
        """Nothing to close; the real one has a connection."""

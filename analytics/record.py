"""Stop 8: a batch of events becomes rows, each event once, however often it comes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from analytics.db import Database
from analytics.errors import UnrecordableError
from contracts.usage_event import UsageEvent


@dataclass(frozen=True, slots=True)
class Refused:
    """An event whose values the database does not take (a NUL in a name, say): never a matter of waiting."""

    event: UsageEvent
    reason: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a batch: `new` rows; the rest was there already or is `refused`."""

    new: int
    refused: tuple[Refused, ...] = ()


class Recorder(Protocol):
    async def record(self, events: Sequence[UsageEvent]) -> Recorded:
        """Committed on return. Raises DatabaseUnavailableError: nothing is known then; asking again is safe."""
        ...


class DatabaseRecorder:
    """One statement for rows and rollups, so that they cannot disagree."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._question: str | None = None

    async def record(self, events: Sequence[UsageEvent]) -> Recorded:
        if not events:
            return Recorded(0)
        try:
            return Recorded(await self._insert(events))
        except UnrecordableError as error:
            if len(events) == 1:
                return Recorded(0, (Refused(events[0], str(error)),))
        middle = len(events) // 2
        first, second = await self.record(events[:middle]), await self.record(events[middle:])
        return Recorded(first.new + second.new, first.refused + second.refused)

    async def _insert(self, events: Sequence[UsageEvent]) -> int:
        if self._question is None:
            (kind,) = await self._database.ask("rollups_are_views", {})
            self._question = "record_timescale" if kind["views"] else "record_plain"
        rows = json.dumps([_row(event) for event in events], separators=(",", ":"))
        (answer,) = await self._database.ask(self._question, {"events": rows})
        return int(answer["recorded"])


_AS_THEY_ARE: Final = frozenset(UsageEvent.model_fields) - {"tokens"}


def _row(event: UsageEvent) -> dict[str, Any]:
    """The columns of usage_events; names and types are those of the record_*.sql files."""
    row = event.model_dump(mode="json", include=set(_AS_THEY_ARE))
    row |= {f"{name}_tokens": count for name, count in event.tokens.model_dump().items()}
    return row

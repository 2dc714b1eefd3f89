"""Time cut into buckets: whole minutes, hours or days of UTC, which all begin at multiples of their width."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Width(StrEnum):
    MINUTE = "1m"
    HOUR = "1h"
    DAY = "1d"

    @property
    def seconds(self) -> int:
        return {Width.MINUTE: 60, Width.HOUR: 3600, Width.DAY: 86400}[self]


@dataclass(frozen=True, slots=True)
class Limits:
    """How many buckets a page has."""

    default: int
    most: int


@dataclass(frozen=True, slots=True)
class Span:
    """Buckets of one width from `start` up to and without `end`, Unix seconds, both multiples of the width."""

    start: int
    end: int
    width: Width

    @classmethod
    def covering(cls, start: int, end: int, width: Width) -> Span:
        """The whole buckets that a range touches: a bucket is never counted in part."""
        return cls(start - start % width.seconds, end + -end % width.seconds, width)

    def first(self, count: int) -> Span:
        return Span(self.start, min(self.end, self.start + count * self.width.seconds), self.width)

    def starts(self) -> range:
        return range(self.start, self.end, self.width.seconds)

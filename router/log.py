"""The router's own log: straight to its stream, because a line is written for every call."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, TextIO

from contracts.log_line import log_line

SERVICE: Final = "router"
LEVELS: Final = ("debug", "info", "warning", "error")


class JsonLog:
    """A line costs one serialisation and one write; nothing is formatted below the least `level`."""

    def __init__(self, stream: TextIO, level: str = "info") -> None:
        self._stream = stream
        self._written = frozenset(LEVELS[LEVELS.index(level) :])

    def info(self, event: str, **fields: Any) -> None:
        self._write("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._write("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._write("error", event, fields)

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if level in self._written:
            self._stream.write(log_line(datetime.now(UTC), level, SERVICE, event, fields) + "\n")

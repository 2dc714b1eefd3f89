"""One JSON object per line. Fields are given by name, so that no prompt and no secret slips in with a message."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final, TextIO

_ENCODE: Final = json.JSONEncoder(default=str).encode
"""Made once: json.dumps makes one per call where it is given a default."""


class JsonLog:
    """`write` costs one serialisation and one line; nothing is formatted below the level."""

    def __init__(self, stream: TextIO, debug: bool = False) -> None:
        self._stream = stream
        self._debug = debug

    def info(self, event: str, **fields: Any) -> None:
        self._write("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._write("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._write("error", event, fields)

    def debug(self, event: str, **fields: Any) -> None:
        if self._debug:
            self._write("debug", event, fields)

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = _ENCODE({"at": at, "level": level, "event": event, **fields})
        self._stream.write(line + "\n")


class JsonFormatter(logging.Formatter):
    """The same form for what libraries log."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["trace"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def route_library_logs(level: str) -> None:
    """What libraries log goes to stderr in our form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)

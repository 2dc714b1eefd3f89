"""Logs: every process of Tern writes one JSON object per line, in one form, so that one query reads them all.

`at` (UTC), `level`, `service`, `event`, then the fields of the event (`request_id` where there is one), and
`trace` where an exception is told. Fields are given by name, one by one: no prompt and no secret slips in with a
message. What a library logs is the event `library`, with its `logger` and its `message`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TextIO

SERVICES: Final = frozenset({"router", "org_service", "analytics"})
_ENCODE: Final = json.JSONEncoder(default=str).encode
"""Made once: json.dumps makes one per call where it is given a default."""


def log_line(at: datetime, level: str, service: str, event: str, fields: Mapping[str, Any]) -> str:
    """One line, without its end."""
    written_at = at.isoformat(timespec="milliseconds")
    return _ENCODE({"at": written_at, "level": level, "service": service, "event": event, **fields})


def say(
    log: logging.Logger, level: int, event: str, *, raised: BaseException | None = None, **fields: Any
) -> None:
    """Log `event` through the standard library; what was `raised` adds its traceback."""
    log.log(level, event, exc_info=raised, extra={"fields": fields})


class LineFormatter(logging.Formatter):
    """The form for what goes through the standard library. A logger named after a service speaks for it; every
    other one speaks for the process's own `service`."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] | None = getattr(record, "fields", None)
        event = "library" if fields is None else record.getMessage()
        if fields is None:
            fields = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            fields = {**fields, "trace": self.formatException(record.exc_info)}
        room = record.name.partition(".")[0]
        service = room if room in SERVICES else self._service
        at = datetime.fromtimestamp(record.created, UTC)
        return log_line(at, record.levelname.lower(), service, event, fields)


def log_to(stream: TextIO, service: str, level: str = "info") -> None:
    """Called where a process begins and nowhere else: a program decides where its log goes, a module does not."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter(service))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)

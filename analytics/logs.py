"""One JSON object per line on stderr. Never a secret, never a prompt: events carry neither."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

LOGGER: Final = "tern.analytics"


class JsonLines(logging.Formatter):
    """`at`, `level`, `event` (the message) and whatever `facts` the caller gave."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": "analytics",
            "event": record.getMessage(),
        }
        line |= getattr(record, "facts", {})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, separators=(",", ":"))


def say(level: int, event: str, *, error: BaseException | None = None, **facts: Any) -> None:
    """One line about `event`, with its facts; `error` adds its traceback."""
    logging.getLogger(LOGGER).log(level, event, exc_info=error, extra={"facts": facts})


def write_to_stderr(level: int = logging.INFO) -> None:
    """Called by `__main__` only: a program decides where its log goes, a module does not."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)

"""Server-sent events, pure: what stands in a frame, and the frames that the gateway writes itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

DONE: Final = b"data: [DONE]\n\n"
PING: Final = b": ping\n\n"
"""A comment line: the only keep-alive that every client survives."""

JsonObject = Mapping[str, Any]


def separator_of(data: bytes) -> bytes | None:
    """What ends a frame in this stream; None while no frame has ended."""
    if b"\n\n" in data:
        return b"\n\n"
    return b"\r\n\r\n" if b"\r\n\r\n" in data else None


def payload_of(frame: bytes) -> bytes | None:
    """The data of one frame, its lines joined; None for a frame without data, such as a comment."""
    if frame.startswith(b"data: ") and b"\n" not in frame:
        return frame[6:]
    lines = [line[5:].removeprefix(b" ") for line in frame.splitlines() if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None


def with_payload(frame: bytes, payload: bytes) -> bytes:
    """The frame with other data; its further fields stay."""
    lines = [line for line in frame.splitlines() if not line.startswith(b"data:")]
    return b"\n".join([*lines, b"data: " + payload])


def data_frame(content: JsonObject) -> bytes:
    return b"data: " + json.dumps(content, separators=(",", ":")).encode() + b"\n\n"


def error_frame(envelope: JsonObject) -> bytes:
    """An error inside an open stream of chunks: the OpenAI SDK raises it."""
    return data_frame({"error": envelope})


def response_error_frame(envelope: JsonObject, sequence_number: int) -> bytes:
    """An error inside an open stream of the Responses API, in the flat form of its specification."""
    named = {name: envelope.get(name) for name in ("code", "message", "param")}
    content = {"type": "error", "sequence_number": sequence_number, **named}
    return b"event: error\n" + data_frame(content)

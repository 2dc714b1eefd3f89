"""Reads a stream of the Responses API as it passes. Model and usage stand inside the `response` member of the few
events that carry one; every other event passes untouched."""

from __future__ import annotations

import json
import re
from typing import Final

from router.answers import sse
from router.answers.tap import BrokenStreamError, FrameTooLargeError, StreamFault, UpstreamErrorFrame
from router.members import members
from router.usage import UsageTally

_DELTA: Final = re.compile(rb'"delta"\s*:\s*"(?!")')
_LAST: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})


class ResponseTap:
    """For /v1/responses. `done` after the event that ends the response."""

    def __init__(self, alias: str, tally: UsageTally, *, frame_cap_bytes: int) -> None:
        self.tally = tally
        self.done = False
        self.finished = False
        self.fault: StreamFault | None = None
        self.sequence_number = 0
        self._alias = json.dumps(alias)
        self._cap_bytes = frame_cap_bytes
        self._carry = b""
        self._separator: bytes | None = None

    def feed(self, data: bytes) -> bytes:
        """The whole frames in `data`, ready to pass on; at a broken frame `fault` says what is wrong with it."""
        out: list[bytes] = []
        try:
            self._frames(data, out)
        except (BrokenStreamError, UpstreamErrorFrame) as fault:
            self.fault = fault
        return b"".join(frame + (self._separator or b"") for frame in out)

    def _frames(self, data: bytes, out: list[bytes]) -> None:
        data = self._carry + data
        self._separator = self._separator or sse.separator_of(data)
        frames, carry = [], data
        if self._separator is not None:
            *frames, carry = data.split(self._separator)
        if len(carry) > self._cap_bytes:
            raise FrameTooLargeError("a frame is too large")
        self._carry = carry
        for frame in frames:
            out.append(self._frame(frame))

    def flush(self) -> bytes:
        return b""

    def closing(self, finish_reason: str) -> bytes:
        """Nothing: an `error` event ends the stream."""
        del finish_reason
        self.finished = True
        return b""

    def _frame(self, frame: bytes) -> bytes:
        if b'"response"' in frame or b'"error"' in frame:
            return self._exact(frame)
        self.sequence_number += 1
        self.tally.deltas += len(_DELTA.findall(frame))
        return frame

    def _exact(self, frame: bytes) -> bytes:
        payload = sse.payload_of(frame)
        if payload is None:
            return frame
        try:
            text = payload.decode()
            found = members(text)
        except ValueError as error:
            raise BrokenStreamError("an event is not JSON") from error
        kind = found["type"].value if "type" in found else None
        if kind == "error":
            raise UpstreamErrorFrame(found["error"].value if "error" in found else json.loads(text))
        self.sequence_number += 1
        self.tally.deltas += len(_DELTA.findall(frame)) if "response" not in found else 0
        self.done = self.finished = kind in _LAST
        response = found.get("response")
        if response is None or not isinstance(response.value, dict):
            return frame
        if isinstance(usage := response.value.get("usage"), dict):
            self.tally.report_object(usage)
        inner = self._renamed(text[response.value_at : response.end])
        edited = text[: response.value_at] + inner + text[response.end :]
        return sse.with_payload(frame, edited.encode()) if edited != text else frame

    def _renamed(self, response: str) -> str:
        model = members(response).get("model")
        return response if model is None else response[: model.value_at] + self._alias + response[model.end :]

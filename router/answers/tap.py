"""Reads a stream of chunks as it passes: counts usage, and edits exactly what was promised.

Every frame of a stream begins with the same bytes up to and including the model's name. The first frame is read
as JSON, exactly; its beginning is remembered, and later frames that begin alike need no parser. A usage object
closes its frame, and a quote inside a JSON string is always escaped, so an unescaped `"usage"` whose value ends
one brace before the end of the frame is the top-level member. Any frame that fits neither is read as JSON.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, TypeAlias

from router.answers import sse
from router.members import Member, members
from router.usage import UsageTally

_USAGE: Final = re.compile(rb',\s?"usage":\s?(null|\{(?:[^{}]|\{[^{}]*\})*\})\}')
_PLAIN_USAGE: Final = re.compile(
    rb',"usage":\{"prompt_tokens":(\d{1,9}),"total_tokens":\d{1,10},"completion_tokens":(\d{1,9})\}\}'
)
_INDEX: Final = re.compile(rb'"choices"\s*:\s*\[\s*\{\s*"index"\s*:\s*(\d+)')
_DELTA: Final = re.compile(rb'"(?:content|text|reasoning|reasoning_content|arguments|refusal)"\s*:\s*"(?!")')


class BrokenStreamError(Exception):
    """The upstream's stream cannot be passed on; the message says why."""


class FrameTooLargeError(BrokenStreamError):
    """What a client asked for may have made it so: the prompt echoed, many log probabilities."""


class UpstreamErrorFrame(Exception):  # noqa: N818
    """The upstream reported an error inside the stream: `error` is its object."""

    def __init__(self, error: Any) -> None:
        super().__init__("the upstream reported an error inside the stream")
        self.error = error


StreamFault: TypeAlias = BrokenStreamError | UpstreamErrorFrame


class ChunkTap:
    """For chat completions and completions. Holds at most one partial frame and one finished choice's frame."""

    def __init__(
        self,
        alias: str,
        tally: UsageTally,
        *,
        include_usage: bool,
        continuous_usage: bool,
        choices: int,
        frame_cap_bytes: int,
    ) -> None:
        self.tally = tally
        self.done = False
        self.finished = False
        self.fault: StreamFault | None = None
        self.head: dict[str, Any] = {}
        self._alias = json.dumps(alias)
        self._include = include_usage
        self._continuous = continuous_usage
        self._many = choices > 1
        self._cap_bytes = frame_cap_bytes
        self._carry = b""
        self._separator: bytes | None = None
        self._prefix = b"\xff"
        self._new_prefix = b""
        self._held: bytes | None = None

    def feed(self, data: bytes) -> bytes:
        """The whole frames in `data`, edited, ready to pass on. What follows a broken frame is not read: `fault`
        then says what is wrong with it."""
        out: list[bytes] = []
        try:
            self._frames(data, out)
        except (BrokenStreamError, UpstreamErrorFrame) as fault:
            self.fault = fault
        if not out:
            return b""
        out.append(b"")
        return (self._separator or b"\n\n").join(out)

    def _frames(self, data: bytes, out: list[bytes]) -> None:
        if self._carry:
            data = self._carry + data
        separator = self._separator or self._find_separator(data)
        if separator is None:
            self._keep(data)
            return
        *frames, carry = data.split(separator)
        for frame in frames:
            self._frame(frame, out)
        self._keep(carry)

    def flush(self) -> bytes:
        """What was held back, at the end of the stream."""
        held, self._held = self._held, None
        return b"" if held is None else held + (self._separator or b"\n\n")

    def closing(self, finish_reason: str) -> bytes:
        """A last chunk for a stream that the gateway ends itself, and the usage so far if it was asked for."""
        self.finished = True
        text = self.head.get("object") == "text_completion"
        choice = {"index": 0, "text": ""} if text else {"index": 0, "delta": {}}
        choice |= {"logprobs": None, "finish_reason": finish_reason}
        frames = self.flush() + sse.data_frame({**self.head, "choices": [choice]})
        if not self._include:
            return frames
        return frames + sse.data_frame({**self.head, "choices": [], "usage": self._usage()})

    def _usage(self) -> dict[str, int]:
        used = self.tally.tokens()
        return {"prompt_tokens": used.input, "completion_tokens": used.output, "total_tokens": used.total}

    def _find_separator(self, data: bytes) -> bytes | None:
        self._separator = sse.separator_of(data)
        return self._separator

    def _keep(self, carry: bytes) -> None:
        if len(carry) > self._cap_bytes:
            raise FrameTooLargeError("a frame is too large")
        self._carry = carry

    def _frame(self, frame: bytes, out: list[bytes]) -> None:
        start = len(self._prefix)
        if not frame.startswith(self._prefix):
            return self._exact(frame, out)
        usage_at = frame.rfind(b'"usage"', start)
        if usage_at < 0:
            self.tally.deltas += len(_DELTA.findall(frame, start))
            return self._pass(self._new_prefix + frame[start:], out)
        if not self._many and (plain := _PLAIN_USAGE.fullmatch(frame, usage_at - 1)):
            self.tally.report(int(plain[1]), int(plain[2]))
            comma_at = usage_at - 1
        else:
            comma_at = self._read_usage(frame, start, usage_at)
            if comma_at < 0:
                return self._exact(frame, out)
        if self._continuous:
            return self._pass(self._new_prefix + frame[start:], out)
        if _has_no_choices(frame):
            return self._total(frame, self._new_prefix + frame[start:], out)
        if self._include and frame.endswith(b"null}"):
            return self._pass(self._new_prefix + frame[start:], out)
        return self._pass(self._new_prefix + frame[start:comma_at] + b"}", out)

    def _read_usage(self, frame: bytes, start: int, usage_at: int) -> int:
        """Count a usage object that is not plain; where its comma stands, or -1 if only a parser can tell."""
        comma_at = frame.rfind(b",", start, usage_at)
        match = _USAGE.fullmatch(frame, comma_at) if comma_at > 0 else None
        if match is None:
            return -1
        if match[1] == b"null":
            self.tally.deltas += len(_DELTA.findall(frame, start))
            return comma_at
        index = None
        if self._many and not _has_no_choices(frame):
            found = _INDEX.search(frame, start, comma_at)
            if found is None:
                return -1
            index = int(found[1])
        try:
            was_usage = self.tally.report_object(json.loads(match[1]), index)
        except ValueError:
            return -1
        if not was_usage:
            self.tally.deltas += len(_DELTA.findall(frame, start))
        return comma_at

    def _pass(self, frame: bytes, out: list[bytes]) -> None:
        if self._held is not None:
            out.append(self._held)
            self._held = None
        if b'"finish_reason":"' not in frame and b'"finish_reason": "' not in frame:
            out.append(frame)
            return
        self.finished = True
        if self._include:
            out.append(frame)
        else:
            self._held = frame

    def _total(self, frame: bytes, edited: bytes, out: list[bytes]) -> None:
        """The chunk that only carries usage: passed on if asked for. An engine that moved a field of the last
        chunk into this one, because usage was asked for, gets it put back."""
        if self._include:
            return self._pass(edited, out)
        name = b'"system_fingerprint"'
        if self._held is not None and name in frame and name not in self._held:
            moved = json.loads(sse.payload_of(frame) or b"{}").get("system_fingerprint")
            put_back = b',"system_fingerprint":' + json.dumps(moved).encode() + b"}"
            out.append(self._held.removesuffix(b"}") + put_back)
            self._held = None
        return None

    def _exact(self, frame: bytes, out: list[bytes]) -> None:
        """Any frame, read as JSON."""
        payload = sse.payload_of(frame)
        if payload is None:
            out.append(frame)
            return
        if payload.strip() == b"[DONE]":
            self.done = True
            if self._held is not None:
                out.append(self._held)
                self._held = None
            return
        text, found = _read(payload)
        self._remember(frame, text, found)
        usage = found.get("usage")
        total = found["choices"].value == [] if "choices" in found else False
        self._count(frame, usage, found, total)
        edited = sse.with_payload(frame, self._edited(text, found, usage, total).encode())
        if total and usage is not None and usage.value is not None:
            self._total(frame, edited, out)
        else:
            self._pass(edited, out)

    def _remember(self, frame: bytes, text: str, found: dict[str, Member]) -> None:
        if not self.head:
            names = ("id", "object", "created")
            self.head = {name: found[name].value for name in names if name in found}
            self.head["model"] = json.loads(self._alias)
        model = found.get("model")
        if model is None or not frame.startswith(b"data: {") or b"\n" in frame:
            return
        self._prefix = b"data: " + text[: model.end].encode() + b","
        self._new_prefix = b"data: " + text[: model.value_at].encode() + self._alias.encode() + b","

    def _count(self, frame: bytes, usage: Member | None, found: dict[str, Member], total: bool) -> None:
        if usage is None or not isinstance(usage.value, dict):
            self.tally.deltas += len(_DELTA.findall(frame))
            return
        index = None
        if self._many and not total:
            choices = found["choices"].value if "choices" in found else None
            first = choices[0] if isinstance(choices, list) and choices else {}
            index = first.get("index", 0) if isinstance(first, dict) else 0
        if not self.tally.report_object(usage.value, index if isinstance(index, int) else None):
            self.tally.deltas += len(_DELTA.findall(frame))

    def _edited(self, text: str, found: dict[str, Member], usage: Member | None, total: bool) -> str:
        """The model renamed, and usage taken out where the client did not ask for it."""
        edits: list[tuple[int, int, str]] = []
        if model := found.get("model"):
            edits.append((model.value_at, model.end, self._alias))
        keep = self._continuous or (self._include and (total or (usage is not None and usage.value is None)))
        if usage is not None and not keep:
            edits.append((*_with_comma(text, found, usage), ""))
        for start, end, replacement in sorted(edits, reverse=True):
            text = text[:start] + replacement + text[end:]
        return text


def _has_no_choices(frame: bytes) -> bool:
    return b'"choices":[]' in frame or b'"choices": []' in frame


def _read(payload: bytes) -> tuple[str, dict[str, Member]]:
    try:
        text = payload.decode()
        found = members(text)
    except ValueError as error:
        raise BrokenStreamError("a frame is not JSON") from error
    if "error" in found and found["error"].value:
        raise UpstreamErrorFrame(found["error"].value)
    return text, found


def _with_comma(text: str, found: dict[str, Member], member: Member) -> tuple[int, int]:
    """The span of a member and of the comma that belongs to it."""
    in_order = list(found.values())
    at = in_order.index(member)
    if at > 0:
        return in_order[at - 1].end, member.end
    return member.name_at, in_order[1].name_at if len(in_order) > 1 else member.end

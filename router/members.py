"""The top-level members of a JSON object, with where each stands in the text: read much, touch little."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple, NoReturn

_SPACE: Final = " \t\n\r"
_NEXT: Final = re.compile(r"[ \t\n\r]*").match


def _refuse_constant(name: str) -> NoReturn:
    raise NotAnObjectError(f"{name} is not JSON")


class NotAnObjectError(ValueError):
    """The text is no JSON object."""


class DuplicateMemberError(ValueError):
    """A name stands twice, so that two parsers could read two objects. Its only argument is the name."""


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)
_SCAN: Final[Callable[[str, int], tuple[Any, int]]] = _DECODER.scan_once  # type: ignore[attr-defined]
"""One value from a place in a text: the value and its end. StopIteration tells where none begins."""


class Member(NamedTuple):
    """`text[name_at:end]` is the whole member, `text[value_at:end]` its value."""

    name_at: int
    value_at: int
    end: int
    value: Any


def members(text: str) -> dict[str, Member]:
    """All members in their order, in one pass; raises NotAnObjectError and DuplicateMemberError.

    Nested values are decoded but their duplicates are not looked for.
    """
    try:
        return _scan(text)
    except (RecursionError, IndexError) as error:
        raise NotAnObjectError("incomplete, or nested too deeply") from error
    except StopIteration as stop:
        raise NotAnObjectError(f"Expecting value at character {stop.value}") from stop
    except json.JSONDecodeError as error:
        raise NotAnObjectError(f"{error.msg} at character {error.pos}") from error
    except DuplicateMemberError:
        raise
    except ValueError as error:
        raise NotAnObjectError(str(error)) from error


def values(text: str) -> dict[str, Any]:
    """The members' values alone, for a third of the price: of a name that stands twice, the last one's. Raises
    NotAnObjectError."""
    try:
        found = _DECODER.decode(text)
    except (RecursionError, ValueError) as error:
        raise NotAnObjectError(str(error)) from error
    if not isinstance(found, dict):
        raise NotAnObjectError("not an object")
    return found


def _scan(text: str) -> dict[str, Member]:
    at = _skip(text, 0)
    if text[at] != "{":
        raise NotAnObjectError("not an object")
    found: dict[str, Member] = {}
    at = _skip(text, at + 1)
    if text[at] == "}":
        at += 1
    else:
        at = _scan_members(text, at, found)
    if _skip(text, at) != len(text):
        raise NotAnObjectError(f"extra data at character {at}")
    return found


def _scan_members(text: str, at: int, found: dict[str, Member]) -> int:
    """Names, colons and commas mostly stand side by side; only where they do not is whitespace looked for."""
    scan = _SCAN
    while True:
        if text[at] != '"':
            raise NotAnObjectError(f"no name at character {at}")
        name, after = scan(text, at)
        if text[after] != ":":
            after = _skip(text, after)
            if text[after] != ":":
                raise NotAnObjectError(f"no colon at character {after}")
        value_at = after + 1 if text[after + 1] not in _SPACE else _skip(text, after + 1)
        value, end = scan(text, value_at)
        if name in found:
            raise DuplicateMemberError(name)
        found[name] = Member(at, value_at, end, value)
        at = end if text[end] not in _SPACE else _skip(text, end)
        if text[at] == "}":
            return at + 1
        if text[at] != ",":
            raise NotAnObjectError(f"no comma at character {at}")
        at = at + 1 if text[at + 1] == '"' else _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    match = _NEXT(text, at)
    return match.end() if match else at

"""Members and their places agree with the JSON parser of the standard library."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.members import DuplicateMemberError, NotAnObjectError, members

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), VALUES), st.sampled_from([None, 0, 2]), st.booleans())
def test_values_and_places_are_those_of_the_text(
    content: dict[str, object], indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps(content, indent=indent, ensure_ascii=ascii_only)
    found = members(text)
    assert {name: member.value for name, member in found.items()} == content
    for name, member in found.items():
        assert json.loads(text[member.value_at : member.end]) == member.value
        assert json.loads("{" + text[member.name_at : member.end] + "}") == {name: member.value}


@given(st.text(max_size=30) | st.text(alphabet='{}[]",:0123456789 \ntruefalsn\\', max_size=30))
def test_anything_else_is_refused_as_the_standard_parser_refuses_it(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        expected = None
    try:
        found = {name: member.value for name, member in members(text).items()}
    except DuplicateMemberError:
        return
    except NotAnObjectError:
        assert not isinstance(expected, dict) or "NaN" in text or "Infinity" in text
    else:
        assert found == expected


def test_a_name_given_twice_is_named() -> None:
    with pytest.raises(DuplicateMemberError, match=r"^model$"):
        members('{"model": 1, "m\\u006fdel": 2}')

"""Deltas: whole characters only, no stop string, nothing lost."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tern.demo.text import DeltaDecoder, TextCodec

BYTES = [bytes([value]) for value in range(256)]


def shown(text: bytes, *stops: str) -> list[str]:
    decoder = DeltaDecoder(BYTES, stops)
    deltas = []
    for byte in text:
        deltas.append(decoder.push(byte))
        if decoder.matched_stop is not None:
            return deltas
    return [*deltas, decoder.flush()]


@settings(deadline=None)
@given(st.text())
def test_every_delta_is_made_of_whole_characters(text: str) -> None:
    deltas = shown(text.encode(errors="ignore"))
    assert "".join(deltas) == text.encode(errors="ignore").decode()


@settings(deadline=None)
@given(st.text(alphabet="abé"), st.lists(st.text(alphabet="abé", min_size=1, max_size=4), min_size=1, max_size=3))
def test_the_text_ends_before_the_first_stop_string(text: str, stops: list[str]) -> None:
    expected = first_cut(text, stops)
    assert "".join(shown(text.encode(), *stops)) == expected


def first_cut(text: str, stops: list[str]) -> str:
    """The text before whichever stop string is complete first, read character by character."""
    for end in range(1, len(text) + 1):
        starts = [text[:end].index(stop) for stop in stops if stop in text[:end]]
        if starts:
            return text[: min(starts)]
    return text


def test_a_cut_character_at_the_very_end_is_dropped() -> None:
    assert "".join(shown("aé".encode()[:-1])) == "a"


@settings(deadline=None)
@given(text=st.text())
def test_token_bytes_spell_every_text(codec: TextCodec, text: str) -> None:
    encodable = text.encode(errors="ignore").decode()
    if "<|" not in encodable:
        assert codec.decode(codec.encode(encodable)) == encodable

"""Errors in words and headers that OpenAI's clients understand."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.grant import LevelKind
from router.errors import CallError, LimitReachedError, body_of, go_duration
from router.ports import Dimension, Refused

GO_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+)s)?(?:(\d+)ms)?")


def refused(dimension: Dimension, retry_after_ms: int | None, possible: bool = True) -> LimitReachedError:
    verdict = Refused(LevelKind.PROJECT, "proj_1", dimension, 10, -3, 5, retry_after_ms, possible)
    return LimitReachedError(verdict)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, b"0ms"), (12, b"12ms"), (1000, b"1s"), (1500, b"1.5s"), (360_000, b"6m0s"), (3_600_000, b"1h0m0s")],
)
def test_durations_are_those_of_go(milliseconds: int, text: bytes) -> None:
    assert go_duration(milliseconds) == text


@given(st.integers(0, 10**10))
def test_every_duration_can_be_parsed(milliseconds: int) -> None:
    match = GO_DURATION.fullmatch(go_duration(milliseconds).decode())
    assert match is not None
    hours, minutes, seconds, rest = (float(part or 0) for part in match.groups())
    assert ((hours * 60 + minutes) * 60 + seconds) * 1000 + rest == pytest.approx(milliseconds, rel=1e-5)


def test_a_wait_is_never_longer_than_clients_accept() -> None:
    headers = dict(refused(Dimension.REQUESTS, 10**9).headers())
    assert (headers[b"retry-after"], headers[b"retry-after-ms"]) == (b"120", b"120000")


@pytest.mark.parametrize(("dimension", "possible"), [(Dimension.SPEND, True), (Dimension.TOKENS, False)])
def test_where_waiting_does_not_help_nobody_is_told_to_wait(dimension: Dimension, possible: bool) -> None:
    headers = dict(refused(dimension, 5000, possible).headers())
    assert headers[b"x-should-retry"] == b"false"
    assert b"retry-after" not in headers and b"retry-after-ms" not in headers


def test_debt_is_shown_as_nothing_left() -> None:
    assert dict(refused(Dimension.TOKENS, 50).headers())[b"x-ratelimit-remaining-tokens"] == b"0"


def every_error() -> list[type[CallError]]:
    found: list[type[CallError]] = [CallError]
    for kind in found:
        found.extend(kind.__subclasses__())
    return found


def test_every_error_of_the_tree_is_drawn() -> None:
    import router.errors

    drawn = router.errors.__doc__ or ""
    for kind in every_error():
        if kind.__module__ == "router.errors":
            assert re.search(rf"\b{kind.__name__}\s+{kind.status}\b", drawn), kind.__name__


def test_the_envelope_has_its_four_members() -> None:
    assert json.loads(body_of(CallError())) == {
        "error": {"message": CallError.default_message, "type": "server_error", "param": None, "code": None}
    }

"""Samples are summed by function: at the end of the stack, and once per sample anywhere on it."""

from __future__ import annotations

from benchmarks.hot_spots import read_stacks


def test_a_function_is_counted_once_per_sample_over_all_its_lines() -> None:
    profile = read_stacks(
        [
            "run (uvloop/loop.py:10);walk (router/call.py:5);feed (router/answers/tap.py:74) 3",
            "run (uvloop/loop.py:10);walk (router/call.py:9) 2",
            "run (uvloop/loop.py:11);run (uvloop/loop.py:12) 1",
            "llhttp__internal_execute (parser.so) 4",
        ]
    )
    assert profile.own == {
        "feed (router/answers/tap.py)": 3,
        "walk (router/call.py)": 2,
        "run (uvloop/loop.py)": 1,
        "llhttp__internal_execute (parser.so)": 4,
    }
    assert profile.inclusive["run (uvloop/loop.py)"] == 6
    assert profile.inclusive["walk (router/call.py)"] == 5
    assert profile.places == {"router/answers/tap.py": 3, "router/call.py": 2, "uvloop": 1, "parser.so": 4}

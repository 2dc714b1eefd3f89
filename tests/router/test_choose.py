"""Model -> ordered upstreams: pure, so every rule is a property."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from contracts.catalog import Operation, Upstream
from router.choose import choose
from router.ports import Candidate

CANDIDATES = st.lists(
    st.builds(
        lambda weight, healthy, load, lacks: (weight, healthy, load, lacks),
        st.integers(0, 4),
        st.booleans(),
        st.integers(0, 9),
        st.frozensets(st.sampled_from(list(Operation))),
    ),
    max_size=6,
)


def candidates(shapes: list[tuple[int, bool, int, frozenset[Operation]]]) -> list[Candidate]:
    return [
        Candidate(Upstream(id=f"u{at}", model_id="m", base_url="x", model_name="m", weight=weight), *rest)
        for at, (weight, *rest) in enumerate(shapes)
    ]


@given(CANDIDATES, st.sampled_from(list(Operation)), st.integers(0, 100))
def test_all_that_fit_are_chosen_least_loaded_first(
    shapes: list[tuple[int, bool, int, frozenset[Operation]]], operation: Operation, turn: int
) -> None:
    given_ = candidates(shapes)
    chosen = choose(given_, operation, turn)
    by_id = {candidate.upstream.id: candidate for candidate in given_}
    fit = {c.upstream.id for c in given_ if c.healthy and c.upstream.weight and operation not in c.lacks}
    assert {upstream.id for upstream in chosen} == fit
    assert len(chosen) == len(fit)
    pressures = [(by_id[upstream.id].load + 1) / upstream.weight for upstream in chosen]
    assert pressures == sorted(pressures)


def test_where_none_is_healthy_those_that_answer_are_asked() -> None:
    shapes = [(1, False, 0, frozenset[Operation]())] * 3
    dead, failing, lacking = candidates(shapes)
    failing = replace(failing, answers=True)
    lacking = replace(lacking, answers=True, lacks=frozenset({Operation.CHAT}))
    healthy = replace(dead, healthy=True)
    assert choose([dead, failing, lacking], Operation.CHAT) == [failing.upstream]
    assert choose([healthy, failing, lacking], Operation.CHAT) == [healthy.upstream]


def test_equal_ones_take_turns() -> None:
    equal = candidates([(1, True, 0, frozenset())] * 3)
    first = [choose(equal, Operation.CHAT, turn)[0].id for turn in range(6)]
    assert first == ["u0", "u1", "u2"] * 2


def test_twice_the_weight_takes_twice_the_load() -> None:
    loads = {"u0": 0, "u1": 0}
    for turn in range(300):
        shapes = [(2, True, loads["u0"], frozenset[Operation]()), (1, True, loads["u1"], frozenset[Operation]())]
        loads[choose(candidates(shapes), Operation.CHAT, turn)[0].id] += 1
    assert abs(loads["u0"] - 200) <= 1

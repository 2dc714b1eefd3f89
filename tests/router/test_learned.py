"""What past calls teach is bounded in memory and follows the workload."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router import learned
from router.learned import Learned, OutputEstimate


@given(st.integers(0, 4000))
def test_a_steady_workload_is_estimated_closely_and_never_too_low(output_tokens: int) -> None:
    estimate = OutputEstimate(output_tokens)
    for _ in range(60):
        estimate.learn(output_tokens)
    assert output_tokens <= estimate.tokens <= output_tokens + 2


def test_a_changed_workload_is_followed_within_a_few_dozen_calls() -> None:
    estimate = OutputEstimate(10)
    for _ in range(40):
        estimate.learn(1000)
    assert 900 < estimate.tokens < 1800


def test_an_unknown_key_gets_the_default_and_keys_do_not_mix() -> None:
    taught = Learned(output_tokens=256, tokens_per_second=30.0)
    taught.learn_output("key_1", "m", 8)
    assert taught.output_tokens("key_1", "m") < 20
    assert taught.output_tokens("key_2", "m") == taught.output_tokens("key_1", "n") == 256


def test_memory_is_bounded() -> None:
    taught = Learned(256, 30.0)
    for number in range(learned.MOST_REMEMBERED + 10):
        taught.learn_output(f"key_{number}", "m", 1)
    assert taught.output_tokens("key_0", "m") == 256
    assert taught.output_tokens("key_9", "m") == 256
    assert taught.output_tokens("key_10", "m") < 256


def test_rates_are_learned_per_model() -> None:
    taught = Learned(256, 30.0)
    taught.learn_rates("m", input_tokens=50, input_bound_tokens=100, output_tokens=200, seconds=2.0)
    assert taught.tokens_per_second("m") == 100.0
    assert taught.input_tokens("m", 1000) == 500
    assert taught.tokens_per_second("n") == 30.0

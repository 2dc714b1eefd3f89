"""Correctness before any number: a red gate ends the run, a wrong peer loses its row."""

from __future__ import annotations

import torch
from ternary_kernels import launch, reference
from torch import Tensor

from bench import chain
from bench.problem import Contender, Problem

TOLERANCE = 0.03  # relative, for results that are rounded otherwise than the definition


def expected_sums(x: Tensor, problem: Problem) -> Tensor:
    """The exact int32 sums by float64 products: every partial sum is an integer below 2**53."""
    codes = reference.quantize(x).codes
    return (codes.double() @ problem.weights.double().T).to(torch.int32)


def check_ours(problem: Problem, x: Tensor) -> str | None:
    """Why our kernels are wrong for this layer and x [M, K], or None: sums bit for bit, and the same bits twice.

    Every row has a scale of its own here, so that a scale of another row is noticed.
    """
    n, k = problem.shape
    scale = torch.linspace(0.5, 1.5, n, device=problem.scale.device)
    sums, token_scale = launch.accumulate(x, problem.packed, k, None)
    if not torch.equal(sums, expected_sums(x, problem)):
        return f"{n}x{k} M={x.shape[0]}: the int32 sums differ from the exact ones"
    y = reference.finish(sums, token_scale, scale, x.dtype)
    for _ in range(2):
        if not torch.equal(launch.linear(x, problem.packed, scale, k, None, None), y):
            return f"{n}x{k} M={x.shape[0]}: the result differs from the definition"
    return None


def check_contender(contender: Contender, problem: Problem, x: Tensor) -> str | None:
    """Why a contender's result is no result of this layer, or None; int32 results are sums before the epilogue."""
    linear = contender.build(problem)
    got = linear.run(linear.prepare(x))
    if got.dtype == torch.int32:
        return None if torch.equal(got, expected_sums(x, problem)) else "sums differ"
    if contender.exact:
        sums, token_scale = expected_sums(x, problem), reference.quantize(x).token_scale
        exact = reference.finish(sums, token_scale, problem.scale, x.dtype)
        return None if torch.equal(got, exact) else "bits differ"
    return _too_far(got, x.float() @ (problem.weights * problem.scale[:, None]).T)


def check_chain(x: Tensor, problems: list[Problem]) -> str | None:
    """Why our layer chain is wrong, or None: near the definition, since a norm's sum has no defined order."""
    hidden = x
    for problem, gate in zip(problems, chain.GATES, strict=True):
        k = problem.shape[1]
        up = hidden[:, k : 2 * k] if gate == "relu2" else None
        weight = torch.ones(k, dtype=x.dtype, device=x.device)
        quantized = reference.quantize(reference.activate(hidden[:, :k], gate, up, weight, chain.EPS))
        sums = (quantized.codes.double() @ problem.weights.double().T).to(torch.int32)
        hidden = reference.finish(sums, quantized.token_scale, problem.scale, x.dtype)
    return _too_far(chain.fused(x, problems)(), hidden)


def _too_far(got: Tensor, wanted: Tensor) -> str | None:
    error = ((got.float() - wanted.float()).norm() / wanted.float().norm()).item()
    return None if error < TOLERANCE else f"relative error {error:.3f}"

"""Correctness before any number: a red gate ends the run, a wrong peer loses its row."""

from __future__ import annotations

import torch
from ternary_kernels import launch, reference
from torch import Tensor

from bench.problem import Contender, Problem, activations


def expected_sums(x: Tensor, problem: Problem) -> Tensor:
    """The exact int32 sums by float64 products: every partial sum is an integer below 2**53."""
    codes = reference.quantize(x).codes
    return (codes.double() @ problem.weights.double().T).to(torch.int32)


def check_ours(problem: Problem, m: int) -> str | None:
    """Why our kernels are wrong for this layer and M, or None: sums bit for bit, and the same bits twice."""
    n, k = problem.shape
    x = activations(m, k)
    sums, token_scale = launch.accumulate(x, problem.packed, k, None)
    if not torch.equal(sums, expected_sums(x, problem)):
        return f"{n}x{k} M={m}: the int32 sums differ from the exact ones"
    y = reference.finish(sums, token_scale, problem.scale, x.dtype)
    for _ in range(2):
        if not torch.equal(launch.linear(x, problem.packed, problem.scale, k, None, None), y):
            return f"{n}x{k} M={m}: the result differs from the definition"
    return None


def check_contender(contender: Contender, problem: Problem, m: int) -> str | None:
    """Why a contender's result is no result of this layer, or None; int32 results are sums before the epilogue."""
    x = activations(m, problem.shape[1])
    linear = contender.build(problem)
    got = linear.run(linear.prepare(x))
    if got.dtype == torch.int32:
        return None if torch.equal(got, expected_sums(x, problem)) else "sums differ"
    if contender.exact:
        sums, token_scale = expected_sums(x, problem), reference.quantize(x).token_scale
        exact = reference.finish(sums, token_scale, problem.scale, x.dtype)
        return None if torch.equal(got, exact) else "bits differ"
    wanted = x.float() @ (problem.weights * problem.scale[:, None]).T
    error = ((got.float() - wanted).norm() / wanted.norm()).item()
    return None if error < 0.03 else f"relative error {error:.3f}"

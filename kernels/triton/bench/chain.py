"""The four linears of a BitNet-2B layer as one CUDA graph over rotating weights: what decoding sees.

qkv -> o -> gate_up -> relu2 * up, sub-norm -> down, activation path included. Attention is left out: its input is
replaced by the query part of qkv.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from ternary_kernels import launch
from torch import Tensor

from bench.problem import Contender, Problem

HIDDEN, QKV, FFN = 2560, 3840, 6912
SHAPES = ((QKV, HIDDEN), (HIDDEN, HIDDEN), (2 * FFN, HIDDEN), (HIDDEN, FFN))
EPS = 1e-5
GATES = ("none", "none", "none", "relu2")  # before each linear, and a norm before every one


def layer_copy(number: int) -> list[Problem]:
    """The four linears of one copy of the layer."""
    return [Problem.make(n, k, 4 * number + i) for i, (n, k) in enumerate(SHAPES)]


def chains(contender: Contender, x: Tensor, copies: int) -> list[Callable[[], Tensor]]:
    """One call per copy of the layer; ours with the fused activation kernel, others with torch's operations."""
    if contender.name == "tern":
        return [fused(x, layer_copy(number)) for number in range(copies)]
    return [_unfused(contender, x, layer_copy(number)) for number in range(copies)]


def fused(x: Tensor, problems: list[Problem]) -> Callable[[], Tensor]:
    """Ours: two launches per linear. Each takes the columns it needs of what the one before left."""
    norms = [torch.ones(problem.shape[1], dtype=x.dtype, device=x.device) for problem in problems]

    def run() -> Tensor:
        hidden = x
        for problem, weight, gate in zip(problems, norms, GATES, strict=True):
            k = problem.shape[1]
            up = hidden[:, k : 2 * k] if gate == "relu2" else None
            codes = launch.quantize(hidden[:, :k], gate=gate, up=up, norm_weight=weight, eps=EPS)
            hidden = launch.linear_quantized(codes, problem.packed, problem.scale, k, x.dtype, None)
        return hidden

    return run


def _unfused(contender: Contender, x: Tensor, problems: list[Problem]) -> Callable[[], Tensor]:
    norm = torch.nn.functional.rms_norm
    hidden = torch.ones(HIDDEN, dtype=torch.bfloat16, device="cuda")
    wide = torch.ones(FFN, dtype=torch.bfloat16, device="cuda")
    qkv, o, gate_up, down = (contender.build(problem).run for problem in problems)

    def run() -> Tensor:
        heads = qkv(norm(x, (HIDDEN,), hidden, EPS))[:, :HIDDEN]
        mixed = o(norm(heads, (HIDDEN,), hidden, EPS))
        gate, up = gate_up(norm(mixed, (HIDDEN,), hidden, EPS)).chunk(2, dim=1)
        return down(norm(gate.relu().square() * up, (FFN,), wide, EPS))

    return run

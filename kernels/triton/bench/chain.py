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


def chains(contender: Contender, x: Tensor, copies: int) -> list[Callable[[], Tensor]]:
    """One call per copy of the layer; ours with the fused activation kernel, others with torch's operations."""
    build = _fused if contender.name == "tern" else _unfused
    return [
        build(contender, x, [Problem.make(n, k, 4 * copy + i) for i, (n, k) in enumerate(SHAPES)])
        for copy in range(copies)
    ]


def _fused(contender: Contender, x: Tensor, problems: list[Problem]) -> Callable[[], Tensor]:
    hidden = torch.ones(HIDDEN, dtype=torch.bfloat16, device="cuda")
    wide = torch.ones(FFN, dtype=torch.bfloat16, device="cuda")
    qkv, o, gate_up, down = problems

    def product(codes: launch.PlaneCodes, problem: Problem) -> Tensor:
        k = problem.shape[1]
        return launch.linear_quantized(codes, problem.packed, problem.scale, k, torch.bfloat16, None)

    def run() -> Tensor:
        heads = product(launch.quantize(x, norm_weight=hidden, eps=EPS), qkv)[:, :HIDDEN]
        mixed = product(launch.quantize(heads, norm_weight=hidden, eps=EPS), o)
        gate, up = product(launch.quantize(mixed, norm_weight=hidden, eps=EPS), gate_up).chunk(2, dim=1)
        return product(launch.quantize(gate, gate="relu2", up=up, norm_weight=wide, eps=EPS), down)

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

"""Layers for the kernel tests, and a plan for every kernel at sizes the interpreter can bear."""

from __future__ import annotations

from typing import NamedTuple

import torch
from ternary_kernels import packing, reference
from ternary_kernels.dispatch import Kernel, Plan
from torch import Tensor

GEMV = Plan(Kernel.GEMV, {"ROWS": 16, "STEP": 32}, warps=4)
SKINNY = Plan(Kernel.SKINNY, {"BN": 64, "BM": 16, "BK": 64, "SPLITS": 1}, warps=4, stages=2)
SPLIT = Plan(Kernel.SKINNY, {"BN": 32, "BM": 16, "BK": 32, "SPLITS": 3}, warps=4, stages=2)
PREFILL = Plan(Kernel.PREFILL, {"BM": 32, "BN": 64, "BK": 128, "GROUP": 2}, warps=4, stages=2)
PREFILL_TMA = Plan(Kernel.PREFILL_TMA, {"BM": 32, "BN": 64, "BK": 64, "GROUP": 2}, warps=4, stages=2)
PLANS = {"gemv": GEMV, "skinny": SKINNY, "split": SPLIT, "prefill": PREFILL, "prefill_tma": PREFILL_TMA}
TILED = {name: plan for name, plan in PLANS.items() if name != "gemv"}


class Layer(NamedTuple):
    """Ternary weights [N, K] with their packed form and row scales."""

    weights: Tensor
    packed: Tensor
    scale: Tensor

    @property
    def k(self) -> int:
        return self.weights.shape[1]


def layer(n: int, k: int, rng: torch.Generator) -> Layer:
    weights = torch.randint(-1, 2, (n, k), dtype=torch.int8, generator=rng)
    return Layer(weights, packing.pack(weights), torch.rand(n, generator=rng) + 0.5)


def activations(m: int, k: int, rng: torch.Generator, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return torch.randn(m, k, generator=rng).to(dtype)


def int64_sums(x: Tensor, weights: Tensor) -> Tensor:
    """The exact accumulators by 64-bit integers, as int32."""
    codes = reference.quantize(x).codes
    return (codes.to(torch.int64) @ weights.to(torch.int64).T).to(torch.int32)

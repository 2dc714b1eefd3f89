"""One layer's data on the GPU, and a linear layer as every contender presents it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from ternary_kernels import packing
from torch import Tensor


@dataclass(frozen=True)
class Problem:
    """Ternary weights int8 [N, K] with one scale, and their packed form; `seed` tells copies apart."""

    weights: Tensor
    packed: Tensor
    scale: Tensor

    @classmethod
    def make(cls, n: int, k: int, seed: int) -> Problem:
        generator = torch.Generator(device="cuda").manual_seed(seed)
        weights = torch.randint(-1, 2, (n, k), dtype=torch.int8, device="cuda", generator=generator)
        return cls(weights, packing.pack(weights), torch.full((n,), 0.5, device="cuda"))

    @property
    def shape(self) -> tuple[int, int]:
        n, k = self.weights.shape
        return n, k


def activations(m: int, k: int) -> Tensor:
    generator = torch.Generator(device="cuda").manual_seed(m)
    return torch.randn(m, k, device="cuda", generator=generator).to(torch.bfloat16)


@dataclass(frozen=True)
class Linear:
    """A layer ready to run: `prepare` is outside the measured time, `run` inside."""

    prepare: Callable[[Tensor], Any]
    run: Callable[[Any], Tensor]


@dataclass(frozen=True)
class Contender:
    """`mode` is "kernel" (activations quantized beforehand) or "full" (bf16 in, bf16 out).

    `missing` says why it cannot run here, or None. `serves` says for which M it makes sense. `weight_bits` is what
    it reads per weight. `exact` contenders must equal the reference bit for bit; others within a few per cent.
    """

    name: str
    mode: str
    weight_bits: float
    build: Callable[[Problem], Linear]
    missing: Callable[[], str | None]
    serves: Callable[[int], bool] = lambda m: True
    exact: bool = False

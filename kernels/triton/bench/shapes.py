"""The layers and batch sizes that are measured: N x K of each fused linear layer, as vLLM runs them."""

from __future__ import annotations

from typing import NamedTuple


class Layer(NamedTuple):
    model: str
    name: str
    n: int
    k: int


LAYERS = (
    Layer("square", "square", 8192, 8192),
    Layer("bitnet-2b", "qkv", 3840, 2560),
    Layer("bitnet-2b", "o", 2560, 2560),
    Layer("bitnet-2b", "gate_up", 13824, 2560),
    Layer("bitnet-2b", "down", 2560, 6912),
    Layer("llama-7b", "qkv", 12288, 4096),
    Layer("llama-7b", "o", 4096, 4096),
    Layer("llama-7b", "gate_up", 22016, 4096),
    Layer("llama-7b", "down", 4096, 11008),
    Layer("llama-70b", "qkv", 10240, 8192),
    Layer("llama-70b", "gate_up", 57344, 8192),
    Layer("llama-70b", "down", 8192, 28672),
)
TOKENS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)


class Goal(NamedTuple):
    """A time that the project wants on an H100; never a result."""

    n: int
    k: int
    m: int
    microseconds: float


CHAIN = Layer("bitnet-2b", "chain of four", 0, 0)
H100_GOALS = (
    *(
        Goal(8192, 8192, m, us)
        for m, us in ((1, 8.0), (16, 9.5), (64, 13.0), (128, 22.0), (256, 34.0), (1024, 125.0), (8192, 950.0))
    ),
    Goal(CHAIN.n, CHAIN.k, 1, 12.0),
)


def goals_of(device: str) -> dict[tuple[int, int, int], float]:
    """(n, k, m) -> microseconds, on the device that the goals are for; none on another."""
    return {(goal.n, goal.k, goal.m): goal.microseconds for goal in H100_GOALS if "H100" in device}


def layers_of(models: list[str]) -> list[Layer]:
    """The layers of the named models, or all."""
    return [layer for layer in LAYERS if not models or layer.model in models]

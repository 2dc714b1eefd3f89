"""Find the winners of a device: candidate tiles beside the default, each gated; clear winners become a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from ternary_kernels import launch
from ternary_kernels.dispatch import Device, Kernel, Plan, Winner, default_plan
from torch import Tensor
from triton.runtime.errors import TritonError

from bench.gate import expected_sums
from bench.problem import Problem, activations
from bench.statistics import Spread, clearly_faster, spread
from bench.timing import copies_for, interleaved, timed

BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 8192)


def candidates(m: int, device: Device) -> Iterator[Plan]:
    """Tiles worth trying for M; those a device cannot hold are dropped when they fail to launch."""
    if m <= 4:
        for elements in (512, 1024, 2048):
            for step in (32, 64, 128):
                for warps in (2, 4, 8):
                    yield Plan(Kernel.GEMV, {"ROWS": elements // step, "STEP": step}, warps)
    if m <= 1024:
        bm = next((size for size in (16, 32, 64) if m <= size), 128)
        for bn, bk, warps in ((64, 128, 4), (128, 128, 4), (128, 64, 8), (64, 256, 4), (128, 128, 8)):
            for splits in (1, 2, 4):
                for stages in (3, 4, 5):
                    tile = {"BN": bn, "BM": bm, "BK": bk, "SPLITS": splits}
                    yield Plan(Kernel.SKINNY, tile, warps, stages)
    if m >= 128:
        kernel = Kernel.PREFILL_TMA if device.capability >= 90 else Kernel.PREFILL
        for bm, bn, bk in ((128, 128, 128), (128, 256, 128), (256, 128, 128), (128, 256, 64), (64, 128, 128)):
            for stages in (3, 4):
                yield Plan(kernel, {"BM": bm, "BN": bn, "BK": bk, "GROUP": 8}, 8, stages)


def winner(n: int, k: int, m: int, rounds: int, cache_bytes: int) -> Winner | None:
    """The candidate that is clearly faster than the default, if any."""
    free = torch.cuda.mem_get_info()[0]
    problems = [Problem.make(n, k, seed) for seed in range(copies_for(n * k // 4, cache_bytes, free))]
    x = activations(m, k)
    codes, wanted = launch.quantize(x), expected_sums(x, problems[0])
    device = launch.device_of(x)
    default = default_plan(m, n, k, device)
    right = [
        plan for plan in candidates(m, device) if plan != default and _is_right(plan, codes, problems[0], wanted)
    ]
    entries = {
        str(number): timed([partial(_call, plan, codes, problem) for problem in problems], cache_bytes)
        for number, plan in enumerate([default, *right])
    }
    times = [spread(samples) for samples in interleaved(entries, rounds).values()]
    chosen = pick(times)
    return Winner(n, k, first_of(m), m, right[chosen - 1]) if chosen else None


def first_of(m: int) -> int:
    """The smallest number of tokens that a measurement at `m` speaks for."""
    return max((size + 1 for size in BUCKETS if size < m), default=1)


def pick(times: list[Spread]) -> int:
    """The index of the fastest by median if it is clearly faster than the default (index 0), else 0."""
    best = min(range(len(times)), key=lambda index: times[index].median)
    return best if clearly_faster(times[best], times[0]) else 0


def _call(plan: Plan, codes: launch.PlaneCodes, problem: Problem) -> Tensor:
    return launch.multiply(codes, problem.packed, problem.scale, torch.bfloat16, plan)


def _is_right(plan: Plan, codes: launch.PlaneCodes, problem: Problem, wanted: Tensor) -> bool:
    """Launches on this device and gives the exact sums."""
    attempt: Callable[[], Tensor] = partial(launch.multiply, codes, problem.packed, None, torch.int32, plan)
    try:
        return torch.equal(attempt(), wanted)
    except (RuntimeError, TritonError):  # too much shared memory or too many registers for this device
        return False

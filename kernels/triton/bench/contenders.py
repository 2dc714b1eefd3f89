"""Who is measured: ours by every path, torch, and the peers that can be imported here.

A peer that is not installed is reported as "not run" with the reason, never as an old number. Each adapter uses
the peer's public interface: gemlite's BitNet helpers with full autotuning, BitBLAS's Matmul, Humming's layer with
its `bitnet` weight schema.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import torch
from ternary_kernels import launch, packing, reference
from ternary_kernels.dispatch import PREFILL_MIN_M, Plan, default_plan
from torch import Tensor

from bench.problem import Contender, Linear, Problem


def contenders() -> list[Contender]:
    """Ours first; peers whether installed or not."""
    return [
        Contender("tern", "kernel", 2, _tern_kernel, _present, exact=True),
        Contender("tern", "full", 2, _tern_full, _present, exact=True),
        Contender("tern-resident", "kernel", 8, _tern_resident, _present, lambda m: m >= 128, exact=True),
        Contender("torch-bf16", "full", 16, _torch_bf16, _present),
        Contender("torch-int_mm", "kernel", 8, _torch_int_mm, _present, lambda m: m > 16),
        Contender("gemlite-a8w158", "full", 2, _gemlite_a8, lambda: _absent("gemlite")),
        Contender("gemlite-a16w158", "full", 2, _gemlite_a16, lambda: _absent("gemlite")),
        Contender("bitblas-int8xint2", "kernel", 2, _bitblas, lambda: _absent("bitblas")),
        Contender("humming-w2a8", "full", 2, _humming_int8, lambda: _absent("humming")),
        Contender("humming-w2a16", "full", 2, _humming_bf16, lambda: _absent("humming")),
    ]


def _present() -> str | None:
    return None


def _absent(module: str) -> str | None:
    return None if find_spec(module) else f"{module} is not installed"


def _plan(codes: launch.PlaneCodes, problem: Problem) -> Plan:
    return launch.plan_for(codes, problem.packed, problem.shape[1])


def _tern_kernel(problem: Problem) -> Linear:
    def run(codes: launch.PlaneCodes) -> Tensor:
        return launch.multiply(codes, problem.packed, problem.scale, torch.bfloat16, _plan(codes, problem))

    return Linear(launch.quantize, run)


def _tern_full(problem: Problem) -> Linear:
    k = problem.shape[1]
    return Linear(lambda x: x, lambda x: launch.linear(x, problem.packed, problem.scale, k, None, None))


def _tern_resident(problem: Problem) -> Linear:
    copy = launch.resident(problem.packed)

    def run(codes: launch.PlaneCodes) -> Tensor:
        plan = default_plan(PREFILL_MIN_M, *problem.shape, launch.device_of(problem.packed))
        return launch.multiply(codes, problem.packed, problem.scale, torch.bfloat16, plan, copy)

    return Linear(launch.quantize, run)


def _torch_bf16(problem: Problem) -> Linear:
    dense = (problem.weights * problem.scale[:, None]).to(torch.bfloat16)
    return Linear(lambda x: x, lambda x: torch.nn.functional.linear(x, dense))


def _torch_int_mm(problem: Problem) -> Linear:
    """The product alone, without an epilogue: int32 out. The scaled result is formed outside the measured time."""
    transposed = problem.weights.T
    return Linear(lambda x: reference.quantize(x).codes, lambda codes: torch._int_mm(codes, transposed))


def _gemlite_a8(problem: Problem) -> Linear:
    import gemlite
    from gemlite.helper import A8W158_INT_dynamic

    gemlite.set_autotune("max")
    layer = A8W158_INT_dynamic(dtype=torch.bfloat16).from_weights(_bf16(problem), problem.scale[:1])
    return Linear(lambda x: x, layer)


def _gemlite_a16(problem: Problem) -> Linear:
    import gemlite
    from gemlite.helper import A16W158_INT

    gemlite.set_autotune("max")
    layer = A16W158_INT(dtype=torch.bfloat16).from_weights(_bf16(problem), problem.scale[:1])
    return Linear(lambda x: x, layer)


def _bitblas(problem: Problem) -> Linear:
    import bitblas

    n, k = problem.shape
    built: dict[int, tuple[Callable[[Tensor, Tensor], Tensor], Tensor]] = {}

    def prepare(x: Tensor) -> Tensor:
        m = x.shape[0]
        config = bitblas.MatmulConfig(
            M=m, N=n, K=k, A_dtype="int8", W_dtype="int2", accum_dtype="int32", out_dtype="int32", layout="nt"
        )
        product = bitblas.Matmul(config=config)
        built[m] = (product, product.transform_weight(problem.weights))
        return reference.quantize(x).codes

    def run(codes: Tensor) -> Tensor:
        product, weights = built[codes.shape[0]]
        return product(codes, weights)

    return Linear(prepare, run)


def _humming_int8(problem: Problem) -> Linear:
    return _humming(problem, "int8")


def _humming_bf16(problem: Problem) -> Linear:
    return _humming(problem, "bfloat16")


def _humming(problem: Problem, input_dtype: str) -> Linear:
    from humming.layer import HummingLayer

    n, k = problem.shape
    layer = HummingLayer(
        shape_n=n, shape_k=k, weight_config={"quant_method": "bitnet"}, input_config={"dtype": input_dtype},
        torch_dtype=torch.bfloat16,
    ).cuda()  # fmt: skip
    packed = layer.weight_schema.process_loaded_weight(packing.pack_hf(problem.weights), "weight")
    inverse = (1 / problem.scale[:1]).to(torch.bfloat16)  # its schema divides by the stored scale
    layer.load_from_tensors({"weight": packed, "weight_scale": inverse})
    layer.transform()
    return Linear(lambda x: x, layer)


def _bf16(problem: Problem) -> Tensor:
    return problem.weights.to(torch.bfloat16)

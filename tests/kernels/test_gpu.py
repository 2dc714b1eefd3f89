"""On a GPU: the compiled kernels at real sizes, CUDA graphs, streams and torch.compile. Selected with -m gpu."""

from __future__ import annotations

import pytest
import torch
from ternary_kernels import launch, ops, packing, reference  # noqa: F401  (importing ops registers the operators)
from ternary_kernels.dispatch import Kernel, Plan, default_plan
from ternary_kernels.launch import PlaneCodes, multiply, quantize
from torch import Tensor

pytestmark = pytest.mark.gpu

TOKENS = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 127, 129, 255, 257, 1000, 4095]
LAYERS = [(2032, 4032), (100, 2570), (2560, 6912), (4096, 11008), (8192, 8192), (512, 32768)]


def made(n: int, k: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator(device="cuda").manual_seed(n + k)
    weights = torch.randint(-1, 2, (n, k), dtype=torch.int8, device="cuda", generator=generator)
    return weights, packing.pack(weights), torch.rand(n, device="cuda", generator=generator) + 0.5


def tokens(m: int, k: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return torch.randn(m, k, device="cuda", generator=torch.Generator(device="cuda").manual_seed(m)).to(dtype)


def exact(codes: Tensor, weights: Tensor) -> Tensor:
    """The sums by float64 products, exact below 2**53."""
    return (codes.double() @ weights.double().T).to(torch.int32)


def plans(m: int, n: int, k: int) -> list[Plan]:
    """The default of every regime that can serve M on this device."""
    device = launch.device_of(torch.empty(0, device="cuda"))
    regimes = [size for size in (1, 4) if m <= 4] + [16, 64, 200, 1024]
    found = [default_plan(size, n, k, device) for size in regimes]
    return [plan for plan in found if plan.kernel is not Kernel.GEMV or m <= 4]


@pytest.mark.parametrize("shape", LAYERS)
def test_every_kernel_equals_the_exact_sums_at_every_m(shape: tuple[int, int]) -> None:
    weights, packed, _ = made(*shape)
    for m in TOKENS:
        x = tokens(m, shape[1])
        codes, wanted = quantize(x), exact(reference.quantize(x).codes, weights)
        for plan in plans(m, *shape):
            assert torch.equal(multiply(codes, packed, None, torch.int32, plan), wanted), (m, plan)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("k", [1, 130, 2570, 6912, 28672, 32768])
def test_the_activation_kernel_equals_the_reference(dtype: torch.dtype, k: int) -> None:
    for m in (1, 7, 1000):
        x = tokens(m, k, dtype)
        got, wanted = quantize(x), reference.quantize(x)
        assert torch.equal(got.planes(packing.packed_width(k)), packing.to_planes(wanted.codes))
        assert torch.equal(got.row_sum, wanted.row_sum) and torch.equal(got.token_scale, wanted.token_scale)


@pytest.mark.parametrize("weight", [-1, 1])
@pytest.mark.parametrize("code", [-128, 127])
def test_extreme_sums_at_the_longest_k_do_not_overflow(weight: int, code: int) -> None:
    k = 87_296  # the largest multiple of 128 below the conservative bound of 87,381
    weights = torch.full((64, k), weight, dtype=torch.int8, device="cuda")
    rows = torch.full((16, k), code, dtype=torch.int8, device="cuda")
    slack = torch.full((packing.CODE_SLACK,), 127, dtype=torch.int8, device="cuda")
    packed = packing.pack(weights)
    for m in (1, 4, 16):
        flat = torch.cat([packing.to_planes(rows[:m]).reshape(-1), slack])
        codes = PlaneCodes(flat, torch.ones(m, device="cuda"), rows[:m].sum(1, dtype=torch.int32))
        for plan in plans(m, 64, k):
            got = multiply(codes, packed, None, torch.int32, plan)
            assert (got == k * weight * code).all(), plan


def test_a_row_of_a_batch_equals_the_row_alone_across_all_kernels() -> None:
    _, packed, scale = made(2560, 6912)
    x = tokens(1000, 6912)
    whole = launch.linear(x, packed, scale, 6912, None, None)
    for m in (1, 4, 5, 17, 200, 383, 384):
        assert torch.equal(launch.linear(x[:m], packed, scale, 6912, None, None), whole[:m])


@pytest.mark.parametrize("m", [1, 4, 16, 200, 1024])
def test_a_captured_graph_replays_to_the_same_bits(m: int) -> None:
    _, packed, scale = made(2560, 6912)
    x = tokens(m, 6912)
    eager = torch.ops.ternary.linear(x, packed, scale, 6912)
    static = torch.zeros_like(x)
    torch.ops.ternary.linear(static, packed, scale, 6912)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = torch.ops.ternary.linear(static, packed, scale, 6912)
    for _ in range(3):
        static.copy_(x)
        graph.replay()
        assert torch.equal(y, eager)


def test_a_chain_of_dependent_launches_sees_finished_results() -> None:
    """Kernels start before their predecessor ends; a result read too early would differ somewhere in 200 links."""
    weights, packed, scale = made(2560, 2560)
    x = tokens(1, 2560)
    y, wanted = x, x
    for _ in range(200):
        y = launch.linear(y, packed, scale, 2560, None, None)
        quantized = reference.quantize(wanted)
        wanted = reference.finish(exact(quantized.codes, weights), quantized.token_scale, scale, torch.bfloat16)
        wanted = wanted / 64
        y = y / 64
    assert torch.equal(y, wanted)


def test_streams_do_not_disturb_each_other() -> None:
    _, packed, scale = made(4096, 4096)
    inputs = [tokens(m, 4096) for m in (1, 4, 16, 33)]
    wanted = [launch.linear(x, packed, scale, 4096, None, None) for x in inputs]
    streams = [torch.cuda.Stream() for _ in inputs]
    torch.cuda.synchronize()
    got = []
    for stream, x in zip(streams, inputs, strict=True):
        with torch.cuda.stream(stream):
            got.append([launch.linear(x, packed, scale, 4096, None, None) for _ in range(20)])
    torch.cuda.synchronize()
    for results, result in zip(got, wanted, strict=True):
        assert all(torch.equal(one, result) for one in results)


def test_a_compiled_block_runs_in_one_graph_at_any_m() -> None:
    _, packed, scale = made(2560, 2560)

    def block(x: Tensor) -> Tensor:
        return torch.ops.ternary.linear(x * 2, packed, scale, 2560) + 1

    compiled = torch.compile(block, fullgraph=True, dynamic=True)
    for m in (1, 5, 400):
        x = tokens(m, 2560)
        assert torch.equal(compiled(x), block(x))


@pytest.mark.parametrize("m", [1, 16, 200])
def test_group_scales_equal_the_definition_bit_for_bit(m: int) -> None:
    weights, packed, _ = made(2032, 4032)
    scale = torch.rand(2032, 32, device="cuda")
    x = tokens(m, 4032)
    wanted = reference.grouped_linear(x.cpu(), weights.cpu(), scale.cpu())
    assert torch.equal(launch.linear(x, packed, scale, 4032, None, None).cpu(), wanted)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("m", [1, 16, 200])
def test_weight_only_agrees_with_float64(m: int, dtype: torch.dtype) -> None:
    weights, packed, scale = made(2032, 4032)
    x = tokens(m, 4032, dtype)
    wanted = reference.weight_only_linear(x, weights, scale)
    got = launch.weight_only(x, packed, scale, 4032)
    torch.testing.assert_close(got, wanted, rtol=0, atol=float(torch.finfo(dtype).eps * wanted.abs().max()))


def test_the_resident_copy_gives_the_same_bits() -> None:
    _, packed, scale = made(2560, 6912)
    x, copy = tokens(1024, 6912), launch.resident(packed)
    with_copy = launch.linear(x, packed, scale, 6912, None, copy)
    assert torch.equal(with_copy, launch.linear(x, packed, scale, 6912, None, None))

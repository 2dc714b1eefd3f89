"""The torch operators: schema, fakes, torch.compile, and layers in two halves over tensor-parallel shards."""

from __future__ import annotations

import pytest
import torch
from ternary_kernels import cpu, ops, packing, reference  # noqa: F401  (importing ops registers the operators)

from tests.kernels.layers import activations, layer

ternary = torch.ops.ternary


def samples(rng: torch.Generator) -> dict[str, tuple[object, ...]]:
    made, x = layer(20, 130, rng), activations(3, 130, rng)
    dense, acc = cpu.dense(made.packed, 130), torch.ones(3, 20, dtype=torch.int32)
    grouped = torch.rand(20, 2, generator=rng)
    codes = ternary.quantize(x)
    return {
        "linear": (x.view(1, 3, 130), made.packed, made.scale, 130, reference.absmax(x)),
        "linear_dense": (x, dense, grouped),
        "accumulate": (x, made.packed, 130),
        "accumulate_dense": (x, dense),
        "finish": (acc, torch.ones(3), made.scale, torch.bfloat16),
        "quantize": (x, x, torch.ones(130, dtype=x.dtype), None, "relu2", 1e-5),
        "linear_quantized": (*codes, made.packed, made.scale, 130, torch.bfloat16),
        "weight_only": (x, made.packed, grouped, 130),
        "resident": (made.packed,),
    }


@pytest.mark.parametrize("name", samples(torch.Generator()))
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_schema_fake_and_dispatch_of_every_operator_agree(name: str, rng: torch.Generator) -> None:
    operator = getattr(ternary, name).default
    results = torch.library.opcheck(operator, samples(rng)[name])
    assert set(results.values()) == {"SUCCESS"}


@pytest.mark.parametrize("shape", [(4, 130), (2, 3, 130), (130,), (0, 130), (1, 0, 130)])
def test_leading_dimensions_are_kept(shape: tuple[int, ...], rng: torch.Generator) -> None:
    made, x = layer(20, 130, rng), torch.randn(shape, generator=rng)
    y = ternary.linear(x, made.packed, made.scale, 130)
    assert torch.equal(y, reference.linear(x, made.weights, made.scale))
    assert torch.equal(y, ternary.linear_dense(x, cpu.dense(made.packed, 130), made.scale))


def test_a_batch_of_any_size_runs_through_one_compiled_graph(rng: torch.Generator) -> None:
    made = layer(20, 130, rng)

    def block(x: torch.Tensor) -> torch.Tensor:
        return ternary.linear(x * 2, made.packed, made.scale, 130) + 1

    torch._dynamo.reset()
    compiled = torch.compile(block, fullgraph=True, dynamic=True, backend="aot_eager")
    for m in (2, 3, 17):
        x = activations(m, 130, rng, torch.float32)
        assert torch.equal(compiled(x), block(x))


def test_quantizing_and_multiplying_apart_equals_the_layer(rng: torch.Generator) -> None:
    made, x = layer(20, 300, rng), activations(5, 300, rng)
    for scale in (made.scale, torch.rand(20, 3, generator=rng)):
        apart = ternary.linear_quantized(*ternary.quantize(x), made.packed, scale, 300, x.dtype)
        assert torch.equal(apart, ternary.linear(x, made.packed, scale, 300))


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_row_parallel_shards_add_up_to_the_same_bits(ranks: int, rng: torch.Generator) -> None:
    made, x = layer(20, 1000, rng), activations(6, 1000, rng)
    share, peak = 1000 // ranks, reference.absmax(x)
    total = torch.zeros(6, 20, dtype=torch.int32)
    for rank in range(ranks):
        part = slice(rank * share, (rank + 1) * share)
        packed = packing.slice_columns(made.packed, 1000, part.start, part.stop)
        acc, token_scale = ternary.accumulate(x[:, part], packed, share, peak)
        total += acc
    y = ternary.finish(total, token_scale, made.scale, x.dtype)
    assert torch.equal(y, ternary.linear(x, made.packed, made.scale, 1000))


def test_a_shards_own_maximum_would_not_add_up(rng: torch.Generator) -> None:
    made, x = layer(20, 256, rng), activations(2, 256, rng)
    x[:, 200] = 50.0
    left, _ = ternary.accumulate(x[:, :128], made.packed[:, :32], 128)
    right, scale = ternary.accumulate(x[:, 128:], made.packed[:, 32:], 128)
    wrong = ternary.finish(left + right, scale, made.scale, x.dtype)
    assert not torch.equal(wrong, ternary.linear(x, made.packed, made.scale, 256))


@pytest.mark.parametrize("k", [129, 131])
def test_activations_that_do_not_fit_the_weights_are_refused(k: int, rng: torch.Generator) -> None:
    made = layer(4, 300, rng)
    with pytest.raises(packing.PackingError, match="do not fit"):
        ternary.linear(torch.zeros(2, k), made.packed, made.scale, k)


def test_scales_and_activations_of_another_kind_are_refused(rng: torch.Generator) -> None:
    made, x = layer(4, 300, rng), torch.zeros(2, 300)
    for scale in (made.scale[:1], torch.ones(4, 2), made.scale.bfloat16()):
        for call in (ternary.linear, ternary.weight_only):
            with pytest.raises(packing.PackingError, match="weight_scale: expected float32"):
                call(x, made.packed, scale, 300)
        with pytest.raises(packing.PackingError, match="weight_scale: expected float32"):
            ternary.linear_dense(x, cpu.dense(made.packed, 300), scale)
    for codes, k in ((ternary.quantize(x[:, :128]), 300), (ternary.quantize(x), 128)):
        with pytest.raises(packing.PackingError, match="codes are not 2 rows"):
            ternary.linear_quantized(*codes, made.packed, made.scale, k, x.dtype)
    with pytest.raises(packing.PackingError, match="floating-point"):
        ternary.linear(x.int(), made.packed, made.scale, 300)


def test_inputs_are_left_unchanged(rng: torch.Generator) -> None:
    made, x = layer(20, 130, rng), activations(3, 130, rng)
    held = [x.clone(), made.packed.clone(), made.scale.clone()]
    ternary.linear(x, made.packed, made.scale, 130)
    assert all(torch.equal(now, then) for now, then in zip((x, made.packed, made.scale), held, strict=True))

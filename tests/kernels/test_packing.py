from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ternary_kernels.packing import (
    BLOCK,
    ZERO_BYTE,
    PackingError,
    from_planes,
    pack,
    pack_hf,
    packed_width,
    slice_columns,
    to_planes,
    unpack,
    unpack_hf,
)

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 400), st.integers(0, 2**31 - 1))


def ternary(n: int, k: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(-1, 2, (n, k), dtype=torch.int8, generator=torch.Generator().manual_seed(seed))


@given(SHAPES)
@settings(max_examples=60, deadline=None)
def test_packing_and_unpacking_is_the_identity(shape: tuple[int, int, int]) -> None:
    weights = ternary(*shape)
    packed = pack(weights)
    assert packed.shape == (shape[0], packed_width(shape[1]))
    assert torch.equal(unpack(packed, shape[1]), weights)


@given(SHAPES)
@settings(max_examples=30, deadline=None)
def test_the_plane_order_of_activations_is_a_permutation_with_zero_padding(shape: tuple[int, int, int]) -> None:
    m, k, seed = shape
    x = torch.randn(m, k, generator=torch.Generator().manual_seed(seed))
    planes = to_planes(x)
    assert planes.shape == (m, 4, packed_width(k))
    assert torch.equal(from_planes(planes, k), x)
    assert torch.count_nonzero(planes) == torch.count_nonzero(x)


def test_every_weight_lies_where_the_format_says() -> None:
    weights = ternary(3, 300)
    packed = pack(weights)
    for k in range(300):
        block, plane, byte = k // 128, k % 128 // 32, k % 32
        code = (packed[:, 32 * block + byte] >> (2 * plane)) & 3
        assert torch.equal(code.to(torch.int8) - 1, weights[:, k])


def test_weights_and_activations_meet_in_the_same_order() -> None:
    weights, x = ternary(5, 330), torch.randint(-9, 9, (4, 330))
    width = packed_width(330)
    codes = torch.stack([(pack(weights) >> (2 * plane)) & 3 for plane in range(4)], dim=1).long()
    sums = to_planes(x).reshape(4, -1) @ (codes.reshape(5, 4 * width) - 1).T
    assert torch.equal(sums, x @ weights.long().T)


def test_padding_is_the_zero_byte() -> None:
    assert torch.equal(pack(torch.zeros(2, 1))[:, 1:], torch.full((2, 31), ZERO_BYTE, dtype=torch.uint8))


@pytest.mark.parametrize("k", [512, 2560, 6912])
@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_column_shards_put_together_are_the_whole(k: int, ranks: int) -> None:
    weights = ternary(4, k)
    packed, share = pack(weights), k // ranks
    parts = [slice_columns(packed, k, rank * share, (rank + 1) * share) for rank in range(ranks)]
    assert torch.equal(torch.cat([unpack(part, share) for part in parts], dim=1), weights)


def test_a_shard_at_block_boundaries_is_a_plain_slice() -> None:
    packed = pack(ternary(4, 512))
    shard = slice_columns(packed, 512, BLOCK, 3 * BLOCK)
    assert shard.data_ptr() == packed[:, 32:].data_ptr() and torch.equal(shard, packed[:, 32:96])


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_row_shards_are_plain_slices(ranks: int) -> None:
    weights = ternary(8, 130)
    for part, whole in zip(pack(weights).chunk(ranks), weights.chunk(ranks), strict=True):
        assert torch.equal(part, pack(whole))


def test_a_group_of_128_is_32_consecutive_bytes() -> None:
    weights = ternary(3, 512)
    for group in range(4):
        part = weights[:, group * 128 : (group + 1) * 128]
        assert torch.equal(pack(weights)[:, group * 32 : (group + 1) * 32], pack(part))


def test_the_hugging_face_layout_goes_both_ways_and_strides_over_the_whole_tensor() -> None:
    weights = ternary(12, 7)
    packed = pack_hf(weights)
    assert torch.equal(unpack_hf(packed), weights)
    assert torch.equal(((packed[1] >> 4) & 3).to(torch.int8) - 1, weights[1 + 2 * 3])


def test_hugging_face_to_planes_keeps_every_code() -> None:
    weights = torch.tensor([-1, 0, 1], dtype=torch.int8).repeat(4, 50)
    assert torch.equal(unpack(pack(unpack_hf(pack_hf(weights))), 150), weights)


def test_no_argument_is_changed() -> None:
    weights, x = ternary(4, 200), torch.randn(3, 200)
    packed, hf = pack(weights), pack_hf(weights)
    held = [tensor.clone() for tensor in (weights, x, packed, hf)]
    unpack(packed, 200), unpack_hf(hf), to_planes(x), slice_columns(packed, 200, 3, 50)
    assert all(torch.equal(now, then) for now, then in zip((weights, x, packed, hf), held, strict=True))


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: pack(torch.full((2, 4), 2), "q_proj"), r"q_proj: a weight is none of -1, 0, \+1"),
        (lambda: pack(torch.tensor([[0.5, 1.0]]), "q_proj"), r"q_proj: a weight is none"),
        (lambda: pack(torch.full((1, 4), float("nan")), "q_proj"), r"q_proj: a weight is none"),
        (lambda: pack(torch.zeros(4), "q_proj"), r"q_proj: expected a matrix"),
        (lambda: pack(torch.zeros(0, 4), "q_proj"), r"q_proj: expected a matrix that is not empty"),
        (lambda: unpack(torch.full((1, 32), 3, dtype=torch.uint8), 128, name="up"), r"up: the invalid code 3"),
        (lambda: unpack(torch.zeros(1, 32, dtype=torch.uint8), 129, name="up"), r"up: 32 bytes .* take 64"),
        (lambda: unpack(torch.zeros(1, 32), 128, name="up"), r"up: packed weights are uint8"),
        (lambda: unpack_hf(torch.full((1, 4), 0xC0, dtype=torch.uint8), "o"), r"o: the invalid code 3"),
        (lambda: pack_hf(torch.zeros(3, 4), "o"), r"o: 3 rows are not a multiple of 4"),
        (lambda: slice_columns(pack(ternary(1, 9)), 9, 4, 10, "o"), r"o: columns 4\.\.10 lie outside 0\.\.9"),
    ],
)
def test_what_cannot_be_packed_is_refused_by_name(call: object, reason: str) -> None:
    with pytest.raises(PackingError, match=reason):
        call()  # type: ignore[operator]

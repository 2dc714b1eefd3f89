"""A layer split over ranks: the shares put together are the whole, and two processes say what one says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from ternary_kernels.checkpoint import CheckpointFormat, Layout
from ternary_kernels.packing import unpack
from ternary_kernels.vllm_plugin.parameters import RowScaleParameter, TernaryWeightParameter
from transformers.integrations.bitnet import pack_weights
from vllm.config import VllmConfig, set_current_vllm_config
from vllm.distributed import (
    cleanup_dist_env_and_memory,
    ensure_model_parallel_initialized,
    init_distributed_environment,
)

from tern.stack.process import free_port
from tests.vllm.checkpoints import Family, Stored, random_tiny, write
from tests.vllm.engine import PROMPTS, engine, greedy, prompt_tokens

ROWS, COLUMNS = 96, 320  # a row-parallel share of 80 columns cuts blocks of 128
HF = CheckpointFormat(Layout.HF)


@pytest.fixture
def one_rank() -> Iterator[None]:
    """The process group that vLLM parameters ask for their rank; the tests then set the rank they mean."""
    with set_current_vllm_config(VllmConfig()):
        init_distributed_environment(1, 0, f"tcp://127.0.0.1:{free_port()}", 0, backend="gloo")
        ensure_model_parallel_initialized(1, 1)
    yield
    cleanup_dist_env_and_memory()


def share(rows: int, columns: int, rank: int, ranks: int, **kind: Any) -> tuple[TernaryWeightParameter, Any]:
    checkpoint = kind.pop("checkpoint", HF)
    made: dict[str, Any] = {"rows": rows, "columns": columns, "checkpoint": checkpoint, "weight_loader": print}
    scale = RowScaleParameter(**made, tensor_name="scale", grouped=checkpoint.grouped)
    weight = TernaryWeightParameter(**made, tensor_name="weight", scale=scale)
    for parameter in (scale, weight):
        parameter.tp_rank, parameter.tp_size = rank, ranks
    return weight, scale


def codes(rows: int, columns: int = COLUMNS, seed: int = 0) -> torch.Tensor:
    return torch.randint(-1, 2, (rows, columns), dtype=torch.int8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
@pytest.mark.usefixtures("one_rank")
def test_column_parallel_shares_put_together_are_the_whole(ranks: int) -> None:
    whole, parts = codes(ROWS), []
    for rank in range(ranks):
        weight, _ = share(ROWS // ranks, COLUMNS, rank, ranks)
        weight.load_column_parallel_weight(pack_weights(whole.clone()))
        parts.append(unpack(weight.data, COLUMNS))
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
@pytest.mark.usefixtures("one_rank")
def test_row_parallel_shares_put_together_are_the_whole(ranks: int) -> None:
    whole, parts = codes(ROWS), []
    for rank in range(ranks):
        weight, _ = share(ROWS, COLUMNS // ranks, rank, ranks)
        weight.load_row_parallel_weight(pack_weights(whole.clone()))
        parts.append(unpack(weight.data, COLUMNS // ranks))
    assert torch.equal(torch.cat(parts, dim=1), whole)


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
@pytest.mark.usefixtures("one_rank")
def test_fused_queries_keys_and_values_are_cut_by_heads(ranks: int) -> None:
    """8 query heads, 2 key heads of 8 rows: with 4 and 8 ranks a key head is held by several of them."""
    queries, keys, head = codes(64), codes(16, seed=1), 8
    replicas = max(1, ranks // 2)
    q_rows, k_rows = 64 // ranks, max(head, 16 // ranks)
    for rank in range(ranks):
        weight, scale = share(q_rows + k_rows, COLUMNS, rank, ranks)
        for parameter, loaded_q, loaded_k in (
            (weight, pack_weights(queries.clone()), pack_weights(keys.clone())),
            (scale, torch.tensor([2.0]), torch.tensor([4.0])),
        ):
            parameter.load_qkv_weight(
                loaded_q, shard_id="q", shard_offset=0, shard_size=q_rows, num_heads=replicas
            )
            parameter.load_qkv_weight(
                loaded_k, shard_id="k", shard_offset=q_rows, shard_size=k_rows, num_heads=replicas
            )
        first = rank // replicas * k_rows
        expected = torch.cat([queries[rank * q_rows : (rank + 1) * q_rows], keys[first : first + k_rows]])
        assert torch.equal(unpack(weight.data, COLUMNS), expected)
        assert scale.data.tolist() == [2.0] * q_rows + [4.0] * k_rows


@pytest.mark.usefixtures("one_rank")
def test_scales_per_group_follow_the_columns_of_their_share() -> None:
    unpacked = CheckpointFormat(Layout.UNPACKED, grouped=True)
    whole = codes(4, 512)
    scales = torch.arange(1.0, 17.0).reshape(4, 4)
    weight, scale = share(4, 256, 1, 2, checkpoint=unpacked)
    weight.load_row_parallel_weight(whole * scales.repeat_interleave(128, dim=1))
    assert torch.equal(unpack(weight.data, 256), whole[:, 256:])
    assert torch.equal(scale.data, scales[:, 2:])


@pytest.mark.parametrize("family", list(Family))
def test_two_ranks_say_what_one_says(family: Family, tmp_path: Path) -> None:
    stored = Stored.MULTIPLY if family is Family.BITNET else Stored.DIVIDE
    directory = write(random_tiny(family), stored, tmp_path / "model")
    prompts = [prompt_tokens(text) for text in PROMPTS]
    with engine(directory) as llm:
        alone = greedy(llm, prompts, tokens=16)
    with engine(directory, tensor_parallel_size=2, distributed_executor_backend="mp") as llm:
        assert greedy(llm, prompts, tokens=16) == alone

"""vLLM parameters of a ternary linear layer, filled by vLLM's second-generation weight loader.

A checkpoint tensor cannot be cut as it lies on disk: in the Hugging Face layout the rows of one byte are
N/4 apart, and a master's scale is the mean of the whole tensor. So every tensor is decoded first, cut for
this rank second, packed third, straight into the layout that the kernels read: no constraint of the packing
reaches tensor parallelism.

    weight        uint8 [N, packed_width(K)]; holds the invalid code 3 until it is loaded
    weight_scale  float32 [N] or [N, ceil(K / 128)], multiplicative; NaN until it is loaded

N and K are this rank's share of the fused layer (q|k|v, gate|up), so q, k and v keep their own scales and
the epilogue is one multiplication per row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from vllm.model_executor.parameter import BasevLLMParameter

from ternary_kernels.checkpoint import CheckpointFormat
from ternary_kernels.packing import BLOCK, PackingError, pack, packed_width
from ternary_kernels.scales import groups_of

UNLOADED_BYTE = 0xFF


class Share(NamedTuple):
    """What this rank takes of one checkpoint tensor: from `row` and `column` on, into its rows from `offset`."""

    full_rows: int
    full_columns: int
    row: int
    rows: int
    offset: int = 0
    column: int = 0
    part: str = ""  # which member of a fused layer, for error messages


class _Sharded(BasevLLMParameter):
    """The four entry points of the v2 loader, reduced to one: `load(tensor, share)`."""

    rows: int
    columns: int
    tensor_name: str

    def label(self, share: Share) -> str:
        return f"{self.tensor_name} ({share.part})" if share.part else self.tensor_name

    def load(self, loaded_weight: Tensor, share: Share) -> None:
        raise NotImplementedError

    def load_column_parallel_weight(self, loaded_weight: Tensor) -> None:
        full = self.rows * self.tp_size
        self.load(loaded_weight, Share(full, self.columns, self.tp_rank * self.rows, self.rows))

    def load_row_parallel_weight(self, loaded_weight: Tensor) -> None:
        full = self.columns * self.tp_size
        self.load(loaded_weight, Share(self.rows, full, 0, self.rows, column=self.tp_rank * self.columns))

    def load_merged_column_weight(self, loaded_weight: Tensor, **kwargs: Any) -> None:
        rows, offset = kwargs["shard_size"], kwargs["shard_offset"]
        share = Share(rows * self.tp_size, self.columns, self.tp_rank * rows, rows, offset)
        self.load(loaded_weight, share._replace(part=f"part {kwargs['shard_id']}"))

    def load_qkv_weight(self, loaded_weight: Tensor, **kwargs: Any) -> None:
        rows, offset, replicas = kwargs["shard_size"], kwargs["shard_offset"], kwargs["num_heads"]
        shared = 1 if kwargs["shard_id"] == "q" else replicas  # ranks that hold the same key and value heads
        full = rows * self.tp_size // shared
        share = Share(full, self.columns, self.tp_rank // shared * rows, rows, offset)
        self.load(loaded_weight, share._replace(part=kwargs["shard_id"]))


class RowScaleParameter(_Sharded):
    """One float32 scale per row, or per row and group of 128 columns, whatever the checkpoint stores."""

    def __new__(cls, **kwargs: Any) -> RowScaleParameter:
        shape = (kwargs["rows"], groups_of(kwargs["columns"])) if kwargs["grouped"] else (kwargs["rows"],)
        return super().__new__(cls, data=torch.full(shape, float("nan"), dtype=torch.float32))

    def __init__(
        self,
        rows: int,
        columns: int,
        grouped: bool,
        tensor_name: str,
        checkpoint: CheckpointFormat,
        weight_loader: Callable[..., None],
    ) -> None:
        super().__init__(data=self.data, weight_loader=weight_loader)
        self.rows, self.columns, self.tensor_name, self.checkpoint = rows, columns, tensor_name, checkpoint

    def load(self, loaded_weight: Tensor, share: Share) -> None:
        self.store(self.checkpoint.scale(loaded_weight, self.label(share)), share)

    def store(self, scale: Tensor, share: Share) -> None:
        """Writes multiplicative scales: one for the tensor, one per row of it, or one per row and group."""
        target = self.data[share.offset : share.offset + share.rows]
        if scale.numel() == 1:
            target.fill_(scale.reshape(()))
            return
        expected = (share.full_rows, *((groups_of(share.full_columns),) if target.dim() == 2 else ()))
        if tuple(scale.shape) != expected:
            raise PackingError(f"{self.label(share)}: expected 1 or {expected} scales, got {tuple(scale.shape)}")
        scale = scale[share.row : share.row + share.rows]
        if target.dim() == 2:
            scale = scale[:, share.column // BLOCK :][:, : target.shape[1]]
        target.copy_(scale)


class TernaryWeightParameter(_Sharded):
    """Ternary weights in the plane format of `ternary_kernels.packing`."""

    def __new__(cls, **kwargs: Any) -> TernaryWeightParameter:
        shape = (kwargs["rows"], packed_width(kwargs["columns"]))
        return super().__new__(cls, data=torch.full(shape, UNLOADED_BYTE, dtype=torch.uint8))

    def __init__(
        self,
        rows: int,
        columns: int,
        tensor_name: str,
        checkpoint: CheckpointFormat,
        scale: RowScaleParameter,
        weight_loader: Callable[..., None],
    ) -> None:
        super().__init__(data=self.data, weight_loader=weight_loader)
        self.rows, self.columns, self.tensor_name = rows, columns, tensor_name
        self.checkpoint, self.scale = checkpoint, scale

    def load(self, loaded_weight: Tensor, share: Share) -> None:
        label = self.label(share)
        on_device = loaded_weight.to(self.data.device)
        decoded = self.checkpoint.decode(on_device, share.full_rows, share.full_columns, label)
        rows = decoded.weights[share.row : share.row + share.rows]
        local = rows[:, share.column : share.column + self.columns]
        self.data[share.offset : share.offset + share.rows] = pack(local, label)
        if decoded.scale is not None:
            self.scale.store(decoded.scale, share)

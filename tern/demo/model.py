"""The forward pass of a BitNet b1.58 decoder in numpy, float32.

Rows of several sequences share every linear map (one product per map and step); attention runs sequence by
sequence. A linear map multiplies whole numbers: |x| <= 127, |w| <= 1, so every partial sum is an integer below
2**24 and float32 holds it exactly. Norms, attention and output head work row by row or sequence by sequence.
So the result of a sequence is the same, bit for bit, whoever shares its step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tern.demo.checkpoint import Checkpoint, Floats, LayerWeights, ModelConfig, TernaryWeight

_SMALLEST_ABSMAX = np.float32(1e-5)


_FIRST_CAPACITY = 64


class KeyValueCache:
    """Keys and values of one sequence, [layer, kv head, position, head_dim]; empty at first, grows by doubling."""

    def __init__(self, config: ModelConfig) -> None:
        self.length = 0
        self._capacity_limit = config.max_position_embeddings
        shape = (2, config.num_hidden_layers, config.num_key_value_heads, 0, config.head_dim)
        self._store = np.zeros(shape, np.float32)

    def reserve(self, length: int) -> None:
        capacity = self._store.shape[3]
        if length <= capacity:
            return
        grown_to = min(max(length, 2 * capacity, _FIRST_CAPACITY), self._capacity_limit)
        grown = np.zeros((*self._store.shape[:3], grown_to, self._store.shape[4]), np.float32)
        grown[:, :, :, : self.length] = self._store[:, :, :, : self.length]
        self._store = grown

    def write(self, layer: int, keys: Floats, values: Floats) -> tuple[Floats, Floats]:
        """Stores [kv head, time, head_dim] behind `length`; returns all keys and values so far."""
        end = self.length + keys.shape[1]
        self._store[0, layer, :, self.length : end] = keys
        self._store[1, layer, :, self.length : end] = values
        return self._store[0, layer, :, :end], self._store[1, layer, :, :end]


@dataclass(frozen=True)
class Segment:
    """New tokens of one sequence and the cache that they continue."""

    cache: KeyValueCache
    tokens: Sequence[int]


class Model:
    """Shapes: rows are the tokens of all segments in order; `forward` returns [rows, hidden]."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.config = checkpoint.config
        self._embedding = checkpoint.embedding
        self._layers = checkpoint.layers
        self._final_norm = checkpoint.final_norm
        self._cos, self._sin = rotary_tables(checkpoint.config)

    def new_cache(self) -> KeyValueCache:
        return KeyValueCache(self.config)

    def forward(self, segments: Sequence[Segment]) -> Floats:
        """Hidden states after the final norm; the caches hold the new tokens afterwards."""
        for segment in segments:
            segment.cache.reserve(segment.cache.length + len(segment.tokens))
        tokens = np.concatenate([np.asarray(segment.tokens, np.int64) for segment in segments])
        positions = np.concatenate([_positions(segment) for segment in segments])
        x: Floats = self._embedding[tokens]
        for index, layer in enumerate(self._layers):
            x = x + self._attention(index, layer, x, positions, segments)
            x = x + self._feed_forward(layer, x)
        for segment in segments:
            segment.cache.length += len(segment.tokens)
        return self._norm(x, self._final_norm)

    def logits(self, hidden: Floats) -> Floats:
        """[hidden] -> [vocab]: one row at a time, so that the sum's order never depends on the batch."""
        return self._embedding @ hidden

    def _attention(
        self, index: int, layer: LayerWeights, x: Floats, positions: NDArray[np.int64], segments: Sequence[Segment]
    ) -> Floats:
        config = self.config
        mapped = apply_ternary(layer.query_key_value, self._norm(x, layer.input_norm))
        heads = mapped.reshape(len(x), -1, config.head_dim)
        rotating = config.num_attention_heads + config.num_key_value_heads
        rotated = rotate(heads[:, :rotating], self._cos[positions], self._sin[positions])
        query, key = np.split(rotated, [config.num_attention_heads], axis=1)
        value = heads[:, rotating:]
        mixed = np.empty((len(x), config.hidden_size), np.float32)
        start = 0
        for segment in segments:
            rows = slice(start, start + len(segment.tokens))
            keys, values = segment.cache.write(index, key[rows].swapaxes(0, 1), value[rows].swapaxes(0, 1))
            mixed[rows] = attend(query[rows], keys, values)
            start = rows.stop
        return apply_ternary(layer.output, self._norm(mixed, layer.attention_sub_norm))

    def _feed_forward(self, layer: LayerWeights, x: Floats) -> Floats:
        mapped = apply_ternary(layer.gate_up, self._norm(x, layer.post_attention_norm))
        gate, up = mapped[:, : self.config.intermediate_size], mapped[:, self.config.intermediate_size :]
        gated = np.square(np.maximum(gate, 0)) * up
        return apply_ternary(layer.down, self._norm(gated, layer.feed_forward_sub_norm))

    def _norm(self, x: Floats, weight: Floats) -> Floats:
        mean_square = np.mean(np.square(x), axis=-1, keepdims=True, dtype=np.float32)
        root: Floats = np.sqrt(mean_square + np.float32(self.config.rms_norm_eps), dtype=np.float32)
        return x / root * weight


def apply_ternary(weight: TernaryWeight, x: Floats) -> Floats:
    """[rows, in] -> [rows, out]: per-token absmax int8 activations times ternary codes.

    No clip to -128..127 is needed: x * 127 / absmax rounds to at most 127 in size.
    """
    absmax = np.maximum(np.abs(x).max(axis=-1, keepdims=True), _SMALLEST_ABSMAX)
    quantised = np.rint(x * (np.float32(127) / absmax))
    sums: Floats = quantised @ weight.codes.T
    scaled: Floats = sums * (absmax / np.float32(127)) * weight.scales
    return scaled


def rotary_tables(config: ModelConfig) -> tuple[Floats, Floats]:
    """cos and sin [position, 1, head_dim]; the two halves of a head turn together."""
    exponents = np.arange(0, config.head_dim, 2, dtype=np.float32) / np.float32(config.head_dim)
    frequencies = np.float32(1) / np.float32(config.rope_theta) ** exponents
    positions = np.arange(config.max_position_embeddings, dtype=np.float32)
    angles = np.outer(positions, np.concatenate((frequencies, frequencies)))[:, None]
    return np.cos(angles), np.sin(angles)


def rotate(x: Floats, cos: Floats, sin: Floats) -> Floats:
    """[rows, heads, head_dim], each head turned by its row's position."""
    half = x.shape[-1] // 2
    turned = np.concatenate((-x[..., half:], x[..., :half]), axis=-1)
    rotated: Floats = x * cos + turned * sin
    return rotated


def attend(query: Floats, keys: Floats, values: Floats) -> Floats:
    """Causal attention of a sequence's last rows: [time, heads, d] x [kv, length, d] -> [time, heads * d]."""
    time, head_count, head_dim = query.shape
    kv_count, length, _ = keys.shape
    grouped = query.swapaxes(0, 1).reshape(kv_count, -1, head_dim)
    scores = grouped @ keys.swapaxes(1, 2) * np.float32(head_dim**-0.5)
    if time > 1:
        future = np.arange(length) > np.arange(length - time, length)[:, None]
        scores.reshape(head_count, time, length)[:, future] = -np.inf
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    mixed: Floats = (weights @ values).reshape(head_count, time, head_dim)
    return mixed.swapaxes(0, 1).reshape(time, -1)


def _positions(segment: Segment) -> NDArray[np.int64]:
    start = segment.cache.length
    return np.arange(start, start + len(segment.tokens), dtype=np.int64)

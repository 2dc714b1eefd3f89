"""The numpy forward pass against a reference written independently, and its independence of the batch."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tern.demo.checkpoint import CheckpointError, Floats, TernaryWeight, load_checkpoint, read_tensors, unpack
from tern.demo.model import Model, Segment, apply_ternary
from tern.demo.server import CHECKPOINT
from tern.demo.text import TextCodec

Tensors = dict[str, NDArray[Any]]


class Reference:
    """The published definition, one token and one head at a time, sums of linear maps in int64."""

    def __init__(self) -> None:
        self.config = json.loads((CHECKPOINT / "config.json").read_text())
        self.tensors = read_tensors(CHECKPOINT / "model.safetensors")
        self.weights: dict[str, NDArray[np.int64]] = {}

    def ternary(self, name: str) -> NDArray[np.int64]:
        if name not in self.weights:
            packed = self.tensors[name + ".weight"]
            quarter = len(packed)
            rows = [(packed[row % quarter] >> (2 * (row // quarter))) & 3 for row in range(4 * quarter)]
            self.weights[name] = np.array(rows, np.int64) - 1
        return self.weights[name]

    def linear(self, name: str, x: Floats) -> Floats:
        absmax = max(np.float32(max(abs(x))), np.float32(1e-5))
        quantised = [int(np.rint(value * (np.float32(127) / absmax))) for value in x]
        assert max(map(abs, quantised)) <= 128
        sums = self.ternary(name) @ np.array(quantised, np.int64)
        scale = self.tensors[name + ".weight_scale"][0]
        scaled: Floats = sums.astype(np.float32) * (absmax / np.float32(127)) * scale
        return scaled

    def norm(self, name: str, x: Floats) -> Floats:
        mean = np.float32(math.fsum(float(value) ** 2 for value in x) / len(x))
        normed: Floats = (
            x / np.sqrt(mean + np.float32(self.config["rms_norm_eps"])) * self.tensors[name + ".weight"]
        )
        return normed

    def turn(self, head: Floats, position: int) -> Floats:
        half = len(head) // 2
        turned = np.empty_like(head)
        for pair in range(half):
            angle = position * self.config["rope_theta"] ** (-2 * pair / len(head))
            turned[pair] = head[pair] * math.cos(angle) - head[pair + half] * math.sin(angle)
            turned[pair + half] = head[pair + half] * math.cos(angle) + head[pair] * math.sin(angle)
        return turned

    def attention(self, prefix: str, rows: list[Floats]) -> list[Floats]:
        size = self.config["hidden_size"] // self.config["num_attention_heads"]
        share = self.config["num_attention_heads"] // self.config["num_key_value_heads"]

        def heads(name: str) -> list[Floats]:
            return [self.linear(prefix + name, row).reshape(-1, size) for row in rows]

        queries, keys, values = heads("q_proj"), heads("k_proj"), heads("v_proj")
        queries = [np.array([self.turn(head, at) for head in row]) for at, row in enumerate(queries)]
        keys = [np.array([self.turn(head, at) for head in row]) for at, row in enumerate(keys)]
        mixed = []
        for at in range(len(rows)):
            parts = []
            for head, query in enumerate(queries[at]):
                scores = [float(query @ keys[past][head // share]) / math.sqrt(size) for past in range(at + 1)]
                weights = [math.exp(score - max(scores)) for score in scores]
                whole = sum(
                    np.float64(weight) * values[past][head // share].astype(np.float64)
                    for past, weight in enumerate(weights)
                )
                parts.append(whole / sum(weights))
            mixed.append(np.concatenate(parts).astype(np.float32))
        return [self.linear(prefix + "o_proj", self.norm(prefix + "attn_sub_norm", row)) for row in mixed]

    def feed_forward(self, prefix: str, row: Floats) -> Floats:
        gated = np.maximum(self.linear(prefix + "gate_proj", row), 0) ** 2 * self.linear(prefix + "up_proj", row)
        return self.linear(prefix + "down_proj", self.norm(prefix + "ffn_sub_norm", gated))

    def logits(self, tokens: list[int]) -> Floats:
        embedding = self.tensors["model.embed_tokens.weight"]
        rows = [embedding[token] for token in tokens]
        for layer in range(self.config["num_hidden_layers"]):
            prefix = f"model.layers.{layer}."
            normed = [self.norm(prefix + "input_layernorm", row) for row in rows]
            rows = [
                row + more for row, more in zip(rows, self.attention(prefix + "self_attn.", normed), strict=True)
            ]
            rows = [
                row + self.feed_forward(prefix + "mlp.", self.norm(prefix + "post_attention_layernorm", row))
                for row in rows
            ]
        return np.array([embedding @ self.norm("model.norm", row) for row in rows])


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference()


def all_logits(model: Model, tokens: list[int]) -> Floats:
    hidden = model.forward([Segment(model.new_cache(), tokens)])
    return np.array([model.logits(row) for row in hidden])


def assert_near(ours: Floats, expected: Floats, typical: float = 1e-3) -> None:
    """Equal but for rounding: a sum in another order may round one activation the other way, which moves the
    logits of that token a little. Wherever the best token is clear it must be the same."""
    difference = np.abs(ours - expected)
    assert np.median(difference) < typical
    assert difference.max() < 0.5
    runner_up, best = np.sort(expected, axis=-1)[:, -2:].T
    clear = best - runner_up > 0.5
    assert clear.any()
    assert np.array_equal(ours.argmax(axis=-1)[clear], expected.argmax(axis=-1)[clear])


@pytest.mark.parametrize("question", ["Where does a fox live?", "what is 3 plus 4", "ping"])
def test_logits_equal_the_reference(model: Model, codec: TextCodec, reference: Reference, question: str) -> None:
    tokens = codec.encode_chat([("user", question)])
    ours, expected = all_logits(model, tokens), reference.logits(tokens)
    assert_near(ours, expected)


def test_a_ternary_map_is_exact_to_the_last_bit(reference: Reference) -> None:
    random = np.random.default_rng(5)
    for name in ("self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj"):
        full = f"model.layers.1.{name}"
        codes = unpack(reference.tensors[full + ".weight"])
        weight = TernaryWeight(codes, np.repeat(reference.tensors[full + ".weight_scale"], len(codes)))
        x = random.normal(size=(5, codes.shape[1])).astype(np.float32)
        expected = np.array([reference.linear(full, row) for row in x])
        assert np.array_equal(apply_ternary(weight, x), expected)


def test_the_unpacked_weights_equal_the_reference(reference: Reference) -> None:
    for name in (
        tensor.removesuffix(".weight_scale") for tensor in reference.tensors if tensor.endswith("_scale")
    ):
        assert np.array_equal(unpack(reference.tensors[name + ".weight"]), reference.ternary(name))


def test_reading_at_once_or_in_steps_is_the_same(model: Model, codec: TextCodec) -> None:
    tokens = codec.encode("Once upon a time, a small fox lived near the forest. One morning, the fox")
    at_once = all_logits(model, tokens)
    cache = model.new_cache()
    stepwise = np.array([model.logits(model.forward([Segment(cache, [token])])[0]) for token in tokens])
    assert_near(at_once, stepwise, typical=0.02)


def test_neighbours_in_a_step_do_not_change_one_bit(model: Model, codec: TextCodec) -> None:
    texts = ["A fox", "The weather in winter is cold and dark. " * 8, "Three plus four is", "A gateway"]
    alone = [model.forward([Segment(model.new_cache(), codec.encode(text))]) for text in texts]
    together = model.forward([Segment(model.new_cache(), codec.encode(text)) for text in texts])
    assert np.array_equal(np.concatenate(alone), together)


def test_the_cache_grows_past_its_first_size(model: Model, codec: TextCodec) -> None:
    tokens = codec.encode("A fox lives in the forest. " * 20)
    assert len(tokens) > 64
    cache = model.new_cache()
    whole = model.forward([Segment(model.new_cache(), tokens)])
    pieces = [model.forward([Segment(cache, tokens[start : start + 40])]) for start in range(0, len(tokens), 40)]
    assert np.abs(np.concatenate(pieces) - whole).max() < 0.2


@pytest.mark.parametrize(
    ("field", "value"), [("linear_class", "bitlinear"), ("quantization_mode", "online"), ("quant_method", None)]
)
def test_an_ambiguous_scale_convention_is_refused(tmp_path: Any, field: str, value: str | None) -> None:
    config = json.loads((CHECKPOINT / "config.json").read_text())
    config["quantization_config"][field] = value
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=field):
        load_checkpoint(tmp_path)


def test_the_invalid_code_is_refused() -> None:
    with pytest.raises(CheckpointError, match="invalid code 3"):
        unpack(np.array([[0b00_11_00_01]], np.uint8))


def test_the_checkpoint_is_small_and_laid_out_for_other_servers() -> None:
    assert sum(path.stat().st_size for path in CHECKPOINT.iterdir()) <= 3_000_000
    config = json.loads((CHECKPOINT / "config.json").read_text())
    tensors = read_tensors(CHECKPOINT / "model.safetensors")
    assert config["architectures"] == ["BitNetForCausalLM"]
    gate = tensors["model.layers.0.mlp.gate_proj.weight"]
    assert gate.dtype == np.uint8 and gate.shape == (config["intermediate_size"] // 4, config["hidden_size"])
    assert tensors["model.layers.0.mlp.gate_proj.weight_scale"].shape == (1,)
    assert "lm_head.weight" not in tensors

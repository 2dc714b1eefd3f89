"""Does the numpy server compute what the checkpoint says? A dense torch forward of the same files, compared.

`python -m tern.demo.training.parity [DIR]` needs torch; the training runs it on what it has written. Nothing is
shared with the server's forward pass: the weights are read by safetensors' torch reader, unpacked and scaled
to a dense float32 model here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from tern.demo.checkpoint import load_checkpoint
from tern.demo.model import Model, Segment
from tern.demo.server import CHECKPOINT
from tern.demo.text import TextCodec
from tern.demo.training.network import Shape, quantise_activations, rotary_tables, rotate

QUESTIONS = ("Hello!", "Where does a fox live?", "What is a gateway?", "What is 7 plus 5?", "zzz 123 ?")
TYPICAL, LARGEST = 1e-3, 0.5


class ParityError(Exception):
    """The two forward passes disagree."""


class DenseModel:
    """Dequantised weights, whole sequences, no cache."""

    def __init__(self, directory: Path) -> None:
        config = json.loads((directory / "config.json").read_text())
        self.shape = Shape(**{name: config[name] for name in Shape.__dataclass_fields__})
        self.tensors = load_file(directory / "model.safetensors")

    def logits(self, tokens: Sequence[int]) -> Tensor:
        cos, sin = rotary_tables(self.shape, len(tokens))
        x = self._floats("model.embed_tokens.weight")[list(tokens)]
        for index in range(self.shape.num_hidden_layers):
            prefix = f"model.layers.{index}."
            x = x + self._attention(prefix + "self_attn.", self._norm(x, prefix + "input_layernorm"), cos, sin)
            x = x + self._feed_forward(prefix + "mlp.", self._norm(x, prefix + "post_attention_layernorm"))
        return self._norm(x, "model.norm") @ self._floats("model.embed_tokens.weight").T

    def _attention(self, prefix: str, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        query, key, value = (
            self._linear(x, prefix + name).unflatten(-1, (-1, self.shape.head_dim)).transpose(0, 1)
            for name in ("q_proj", "k_proj", "v_proj")
        )
        query, key = rotate(query, cos, sin), rotate(key, cos, sin)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
        return self._linear(
            self._norm(mixed.transpose(0, 1).flatten(1), prefix + "attn_sub_norm"), prefix + "o_proj"
        )

    def _feed_forward(self, prefix: str, x: Tensor) -> Tensor:
        gated = functional.relu(self._linear(x, prefix + "gate_proj")).square() * self._linear(
            x, prefix + "up_proj"
        )
        return self._linear(self._norm(gated, prefix + "ffn_sub_norm"), prefix + "down_proj")

    def _linear(self, x: Tensor, name: str) -> Tensor:
        packed = self.tensors[name + ".weight"]
        codes = torch.cat([(packed >> shift) & 3 for shift in (0, 2, 4, 6)]).float() - 1
        return functional.linear(quantise_activations(x), codes * self._floats(name + ".weight_scale"))

    def _norm(self, x: Tensor, name: str) -> Tensor:
        return functional.rms_norm(x, x.shape[-1:], self._floats(name + ".weight"), self.shape.rms_norm_eps)

    def _floats(self, name: str) -> Tensor:
        return self.tensors[name].float()


def check_parity(directory: Path) -> float:
    """The largest difference of two logits. Errors: ParityError when it is more than rounding explains.

    A sum in another order may round one int8 activation the other way; that moves all logits of its token.
    """
    dense, model, codec = DenseModel(directory), Model(load_checkpoint(directory)), TextCodec(directory)
    pairs = [_both_logits(dense, model, codec.encode_chat([("user", question)])) for question in QUESTIONS]
    ours, expected = (torch.cat(logits) for logits in zip(*pairs, strict=True))
    difference = (ours - expected).abs()
    best = expected.topk(2).values
    is_clear = best[:, 0] - best[:, 1] > LARGEST
    same_choice = torch.equal(ours.argmax(-1)[is_clear], expected.argmax(-1)[is_clear])
    worst = float(difference.max())
    if not same_choice or worst > LARGEST or float(difference.median()) > TYPICAL:
        raise ParityError(f"logits differ by up to {worst:.4f}, typically by {float(difference.median()):.6f}")
    return worst


def _both_logits(dense: DenseModel, model: Model, tokens: list[int]) -> tuple[Tensor, Tensor]:
    hidden = model.forward([Segment(model.new_cache(), tokens)])
    return torch.stack([torch.from_numpy(model.logits(row)) for row in hidden]), dense.logits(tokens)


def main() -> None:
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else CHECKPOINT
    print(f"largest difference of two logits: {check_parity(directory):.6f}")


if __name__ == "__main__":
    main()

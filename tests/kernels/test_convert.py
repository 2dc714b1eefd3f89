"""Converting a checkpoint: every source format becomes the same planes, in bounded memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from ternary_kernels import packing, shards
from ternary_kernels.convert import convert, main

from tests.kernels.checkpoints import BITNET, Q, load, packed_source, write_source
from tests.kernels.layers import layer

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("linear_class", "scale"), [("autobitlinear", 0.5), ("bitlinear", 2.0)])
def test_both_scale_conventions_become_a_factor(
    linear_class: str, scale: float, tmp_path: Path, rng: torch.Generator
) -> None:
    weights = packed_source(tmp_path / "src", rng, {**BITNET, "linear_class": linear_class})
    convert(tmp_path / "src", tmp_path / "dst")
    made = load(tmp_path / "dst")
    for name, weight in weights.items():
        assert torch.equal(packing.unpack(made[f"{name}.weight"], weight.shape[1]), weight)
        assert made[f"{name}.weight_scale"].tolist() == [scale]
        assert made[f"{name}.weight_scale"].dtype == torch.float32


def test_everything_else_is_kept_and_the_configuration_names_the_format(
    tmp_path: Path, rng: torch.Generator
) -> None:
    packed_source(tmp_path / "src", rng, {**BITNET, "modules_to_not_convert": ["lm_head"]})
    convert(tmp_path / "src", tmp_path / "dst")
    before, after = load(tmp_path / "src"), load(tmp_path / "dst")
    assert set(before) == set(after)
    for name in ("model.embed_tokens.weight", "model.norm.weight"):
        assert torch.equal(before[name], after[name])
    config = json.loads((tmp_path / "dst" / "config.json").read_text())
    assert config["quantization_config"] == {
        "quant_method": "ternary", "bits": 2, "layout": "planes", "modules_to_not_convert": ["lm_head"],
    }  # fmt: skip
    assert config["hidden_size"] == 130
    assert (tmp_path / "dst" / "tokenizer.json").exists()
    assert not (tmp_path / "dst" / "pytorch_model.bin").exists()


def test_the_index_names_every_tensor_and_their_size(tmp_path: Path, rng: torch.Generator) -> None:
    packed_source(tmp_path / "src", rng, BITNET)
    convert(tmp_path / "src", tmp_path / "dst")
    index = json.loads((tmp_path / "dst" / shards.INDEX).read_text())
    made = load(tmp_path / "dst")
    assert set(index["weight_map"]) == set(made)
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in made.values())
    for name, file in index["weight_map"].items():
        assert name in load_file(tmp_path / "dst" / file)


@pytest.mark.parametrize("group_size", [None, 128])
def test_unpacked_ternary_weights_are_read_off_exactly(
    group_size: int | None, tmp_path: Path, rng: torch.Generator
) -> None:
    made = layer(20, 256, rng)
    groups = 2 if group_size else 1
    scale = 2.0 ** torch.randint(-3, 3, (20, groups), generator=rng)
    dense = made.weights * scale.repeat_interleave(256 // groups, dim=1)
    write_source(tmp_path / "src", {f"{Q}.weight": dense.bfloat16(), "lm_head.weight": torch.randn(9, 256)}, None)
    convert(tmp_path / "src", tmp_path / "dst", group_size=group_size)
    written = load(tmp_path / "dst")
    assert torch.equal(packing.unpack(written[f"{Q}.weight"], 256), made.weights)
    assert torch.equal(written[f"{Q}.weight_scale"], scale if group_size else scale[:, 0])
    assert written["lm_head.weight"].shape == (9, 256)


def test_masters_are_quantized_by_their_mean(tmp_path: Path, rng: torch.Generator) -> None:
    master = torch.randn(20, 130, generator=rng)
    write_source(tmp_path / "src", {f"{Q}.weight": master}, {**BITNET, "quantization_mode": "online"})
    convert(tmp_path / "src", tmp_path / "dst")
    written = load(tmp_path / "dst")
    inverse = 1.0 / master.abs().mean()
    expected = (master * inverse).round().clamp(-1, 1).to(torch.int8)
    assert torch.equal(packing.unpack(written[f"{Q}.weight"], 130), expected)
    assert torch.equal(written[f"{Q}.weight_scale"], (1.0 / inverse).reshape(1))


WATCHED = """
import re, sys, threading, time
from pathlib import Path
from ternary_kernels.convert import convert

def anonymous_mib():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024

seen, before, done = [0], anonymous_mib(), threading.Event()

def watch():
    while not done.wait(0.001):
        seen.append(anonymous_mib() - before)

watcher = threading.Thread(target=watch)
watcher.start()
convert(Path(sys.argv[1]), Path(sys.argv[2]))
done.set()
watcher.join()
print(max(seen))
"""


def test_a_conversion_takes_the_memory_of_a_few_tensors(tmp_path: Path) -> None:
    """A child converts 48 masters of 4 MiB; what it allocates stays far below their 192 MiB."""
    tensors = {f"model.layers.{i}.mlp.up_proj.weight": torch.randn(1024, 1024) for i in range(48)}
    write_source(tmp_path / "src", tensors, {**BITNET, "quantization_mode": "online"})
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "kernels" / "triton"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", WATCHED, str(tmp_path / "src"), str(tmp_path / "dst")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 96


def test_the_command_converts(tmp_path: Path, rng: torch.Generator) -> None:
    packed_source(tmp_path / "src", rng, BITNET)
    assert main([str(tmp_path / "src"), str(tmp_path / "dst")]) == 0
    assert (tmp_path / "dst" / "config.json").exists()

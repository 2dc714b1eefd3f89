"""Converting a checkpoint: what is refused, by name, and that no failure leaves half a target."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ternary_kernels import packing, shards
from ternary_kernels.convert import convert, main
from ternary_kernels.packing import PackingError

from tests.kernels.checkpoints import BITNET, Q, packed_source, write_source
from tests.kernels.layers import layer

ROOT = Path(__file__).parents[2]
WEIGHT, SCALE = f"{Q}.weight", f"{Q}.weight_scale"
Tensors = dict[str, torch.Tensor]


def put(name: str, tensor: torch.Tensor) -> Callable[[Tensors], object]:
    return lambda tensors: tensors.__setitem__(name, tensor)


def bad_code(tensors: Tensors) -> None:
    tensors[WEIGHT][1, 2] = 0xFF


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (bad_code, rf"{WEIGHT}: the invalid code 3"),
        (put(WEIGHT, torch.zeros(5, 130, dtype=torch.int8)), rf"{WEIGHT}: has a weight_scale, but is not packed"),
        (put(WEIGHT, torch.zeros(650, dtype=torch.uint8)), rf"{WEIGHT}: has a weight_scale, .* \(650,\)"),
        (lambda tensors: tensors.pop(WEIGHT), rf"{WEIGHT}: has a weight_scale, but .* missing"),
        (lambda tensors: tensors.pop(SCALE), rf"{SCALE}: missing"),
        (put(SCALE, torch.tensor([float("nan")])), rf"{SCALE}: a scale is NaN"),
        (put(SCALE, torch.tensor([float("inf")])), rf"{SCALE}: a scale is NaN or infinite"),
        (put(SCALE, torch.tensor([0.0])), rf"{SCALE}: a scale is zero"),
        (put(SCALE, torch.tensor([-0.5])), rf"{SCALE}: a scale is negative"),
        (put(SCALE, torch.tensor([2])), rf"{SCALE}: a scale is a floating-point number"),
        (put(SCALE, torch.ones(2)), rf"{SCALE}: expected 1 or 20 scales"),
    ],
)
def test_a_damaged_checkpoint_is_refused_and_leaves_nothing(
    damage: Callable[[Tensors], object], reason: str, tmp_path: Path, rng: torch.Generator
) -> None:
    tensors = {WEIGHT: packing.pack_hf(layer(20, 130, rng).weights), SCALE: torch.ones(1)}
    damage(tensors)
    write_source(tmp_path / "src", tensors, BITNET)
    with pytest.raises(PackingError, match=reason):
        convert(tmp_path / "src", tmp_path / "dst")
    assert [path.name for path in tmp_path.iterdir()] == ["src"]


@pytest.mark.parametrize("values", [[[0.5, -0.25, 0.0, 0.5]], [[float("nan"), 1.0, -1.0, 0.0]], [[]]])
def test_dense_weights_that_are_not_ternary_are_refused(values: list[list[float]], tmp_path: Path) -> None:
    write_source(tmp_path / "src", {WEIGHT: torch.tensor(values)}, None)
    with pytest.raises(PackingError, match=Q):
        convert(tmp_path / "src", tmp_path / "dst")
    assert not (tmp_path / "dst").exists()


def test_a_scale_beside_weights_that_carry_their_own_is_refused(tmp_path: Path) -> None:
    write_source(tmp_path / "src", {WEIGHT: torch.ones(4, 128), SCALE: torch.ones(1)}, None)
    with pytest.raises(PackingError, match=rf"{SCALE}: stored, yet unpacked weights"):
        convert(tmp_path / "src", tmp_path / "dst")


@pytest.mark.parametrize(
    ("quantization", "layout", "group_size", "reason"),
    [
        ({"quant_method": "gptq"}, None, None, "gptq"),
        ({**BITNET, "linear_class": "mystery"}, None, None, "mystery"),
        ({"quant_method": "ternary"}, None, None, "already"),
        (BITNET, "master", None, "--layout"),
        (BITNET, None, 128, "--group-size"),
        (None, "master", 128, "group_size contradicts"),
    ],
)
def test_a_source_that_would_have_to_be_guessed_is_refused(
    quantization: dict[str, Any] | None,
    layout: str | None,
    group_size: int | None,
    reason: str,
    tmp_path: Path,
    rng: torch.Generator,
) -> None:
    packed_source(tmp_path / "src", rng, quantization)
    with pytest.raises(PackingError, match=reason):
        convert(tmp_path / "src", tmp_path / "dst", layout, group_size)


def unlink(source: Path) -> None:
    (source / "model-2.safetensors").unlink()


def cut_short(source: Path) -> None:
    os.truncate(source / "model-1.safetensors", 2000)


def emptied(source: Path) -> None:
    (source / "model-1.safetensors").write_bytes(b"")


def store_twice(source: Path) -> None:
    (source / shards.INDEX).unlink()
    (source / "consolidated.safetensors").write_bytes((source / "model-2.safetensors").read_bytes())


def index(text: str) -> Callable[[Path], object]:
    return lambda source: (source / shards.INDEX).write_text(text)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (unlink, r"model-2\.safetensors: named in .* missing"),
        (cut_short, r"model-1\.safetensors: is damaged or cut short"),
        (emptied, r"model-1\.safetensors: is damaged or cut short"),
        (store_twice, r": stored in 2 files"),
        (index("{"), r"index\.json: is not JSON"),
        (index("{}"), r"index\.json: holds no weight_map"),
        (index('{"weight_map": {"lost": "model-1.safetensors"}}'), r"lost: .* does not hold it"),
        (index('{"weight_map": {"a": "../src/model-1.safetensors"}}'), r"is not the name of a file beside it"),
        (lambda source: (source / "config.json").write_text("[]"), r"config\.json: is not a JSON object"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(
    damage: Callable[[Path], object], reason: str, tmp_path: Path, rng: torch.Generator
) -> None:
    packed_source(tmp_path / "src", rng, BITNET)
    damage(tmp_path / "src")
    with pytest.raises(PackingError, match=reason):
        convert(tmp_path / "src", tmp_path / "dst")
    assert [path.name for path in tmp_path.iterdir()] == ["src"]


def test_an_existing_target_is_not_touched(tmp_path: Path, rng: torch.Generator) -> None:
    packed_source(tmp_path / "src", rng, BITNET)
    (tmp_path / "dst").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for target in (tmp_path / "dst", tmp_path / "link", tmp_path / "src"):
        with pytest.raises(PackingError, match="exists already"):
            convert(tmp_path / "src", target)
    assert list((tmp_path / "dst").iterdir()) == []


def test_a_target_inside_the_source_is_refused(tmp_path: Path, rng: torch.Generator) -> None:
    packed_source(tmp_path / "src", rng, BITNET)
    held = sorted((tmp_path / "src").iterdir())
    with pytest.raises(PackingError, match="lies inside"):
        convert(tmp_path / "src", tmp_path / "src" / "dst")
    assert sorted((tmp_path / "src").iterdir()) == held


def test_a_source_of_links_is_converted_and_the_target_holds_files(tmp_path: Path, rng: torch.Generator) -> None:
    packed_source(tmp_path / "blobs", rng, BITNET)
    (tmp_path / "src").mkdir()
    for path in (tmp_path / "blobs").iterdir():
        (tmp_path / "src" / path.name).symlink_to(path)
    convert(tmp_path / "src", tmp_path / "dst")
    assert not any(path.is_symlink() for path in (tmp_path / "dst").iterdir())


LIMITED = """
import resource, sys
from ternary_kernels.convert import main
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def masters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 masters of 4 MiB: long enough at work to be stopped, 12 MiB when packed."""
    tensors = {f"model.layers.{i}.mlp.up_proj.weight": torch.randn(1024, 1024) for i in range(48)}
    folder = tmp_path_factory.mktemp("masters") / "src"
    return write_source(folder, tensors, {**BITNET, "quantization_mode": "online"})


def start(arguments: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "kernels" / "triton"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *arguments], env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )


def test_a_disk_that_takes_no_more_is_one_sentence_and_leaves_nothing(masters: Path, tmp_path: Path) -> None:
    """The largest file that a process may write stands for the size of the disk: both fail in `write`."""
    child = start(["-c", LIMITED, str(masters), str(tmp_path / "dst")])
    _, said = child.communicate()
    assert child.returncode == 1 and "Traceback" not in said and f"{tmp_path / 'dst'}: [Errno" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "left"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, 1)])
def test_a_conversion_that_is_stopped_leaves_no_target(
    number: signal.Signals, left: int, masters: Path, tmp_path: Path
) -> None:
    """Asked to stop it takes its partial folder along; killed, it leaves that, never under the target's name."""
    child = start(["-m", "ternary_kernels.convert", str(masters), str(tmp_path / "dst")])
    while not list(tmp_path.glob("dst.partial-*/*.safetensors")):
        assert child.poll() is None
        time.sleep(0.001)
    child.send_signal(number)
    child.communicate()
    assert not (tmp_path / "dst").exists() and len(list(tmp_path.iterdir())) == left


def test_the_command_says_in_one_sentence_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), str(tmp_path / "dst")]) == 1
    assert capsys.readouterr().err == f"{tmp_path}: holds no config.json\n"

"""The plugin is found by vLLM, may be registered twice, and does no harm where vLLM or torch is absent."""

from __future__ import annotations

import subprocess
import sys
import venv
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from ternary_kernels.packing import PackingError
from ternary_kernels.vllm_plugin import ARCHITECTURES, QUANTIZATION, register
from ternary_kernels.vllm_plugin.config import TernaryConfig
from vllm.model_executor.layers.quantization import QUANTIZATION_METHODS, get_quantization_config
from vllm.model_executor.models import ModelRegistry
from vllm.plugins import load_general_plugins

KERNELS = Path(__file__).parents[2] / "kernels" / "triton"


def test_vllm_finds_the_plugin() -> None:
    (plugin,) = [entry for entry in entry_points(group="vllm.general_plugins") if entry.name == "ternary"]
    assert plugin.load() is register


def test_registering_twice_changes_nothing() -> None:
    load_general_plugins()
    register()
    first = get_quantization_config(QUANTIZATION), ModelRegistry.models[ARCHITECTURES[0]]
    register()
    assert (get_quantization_config(QUANTIZATION), ModelRegistry.models[ARCHITECTURES[0]]) == first
    assert QUANTIZATION_METHODS.count(QUANTIZATION) == 1


def test_it_is_harmless_without_vllm_and_without_torch(tmp_path: Path) -> None:
    venv.create(tmp_path, with_pip=False, symlinks=True)
    _run(tmp_path / "bin" / "python", "from ternary_kernels.vllm_plugin import register; register()")


def test_importing_it_imports_nothing_heavy() -> None:
    script = (
        "import sys; import ternary_kernels.vllm_plugin; assert not {'torch', 'vllm', 'triton'} & set(sys.modules)"
    )
    _run(Path(sys.executable), script)


def _run(python: Path, script: str) -> None:
    subprocess.run([python, "-c", script], env={"PYTHONPATH": str(KERNELS)}, check=True, timeout=60)


BITNET = {"quant_method": "bitnet"}


@pytest.mark.parametrize(
    ("checkpoint", "asked_for", "claimed"),
    [
        (BITNET, None, True),
        (BITNET, "ternary", True),
        (BITNET, "humming", False),
        ({"quant_method": "ternary"}, None, True),
        ({"quant_method": "fp8"}, None, False),
        ({"quant_method": "fp8"}, "ternary", False),
    ],
)
def test_only_ternary_checkpoints_are_claimed(
    checkpoint: dict[str, str], asked_for: str | None, claimed: bool
) -> None:
    verdict = TernaryConfig.override_quantization_method(checkpoint, asked_for, hf_config=None)
    assert verdict == (QUANTIZATION if claimed else None)


@pytest.mark.parametrize(
    ("quantization", "sentence"),
    [
        (BITNET | {"linear_class": "fancylinear"}, "multiplies or divides"),
        (BITNET | {"use_rms_norm": True}, "use_rms_norm"),
        ({"quant_method": "ternary", "group_size": 64}, "group_size"),
        ({"quant_method": "ternary", "layout": "spiral"}, "layout"),
    ],
)
def test_a_configuration_that_would_have_to_be_guessed_is_refused(
    quantization: dict[str, object], sentence: str
) -> None:
    with pytest.raises(PackingError, match=sentence):
        TernaryConfig.from_config(quantization)

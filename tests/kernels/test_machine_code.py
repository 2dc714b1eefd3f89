"""Every kernel compiled for sm_80, sm_89, sm_90 and sm_120 without a GPU, and its machine code read.

The regression test for speed. The bounds hold for the Triton of requirements/kernels.txt; another version may
count differently.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from ternary_kernels.offline import DEVICES, Report, Variant, variants

ROOT = Path(__file__).parents[2]
CASES = [
    pytest.param(device.capability, variant.name, id=f"sm_{device.capability}-{variant.name}")
    for device in DEVICES
    for variant in variants(device)
]
SHARED = {device.capability: device.shared_bytes for device in DEVICES}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, str], Report]:
    """All variants, compiled in a process that was not told to interpret, into an empty cache."""
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    environment |= {
        "PYTHONPATH": str(ROOT / "kernels" / "triton"),
        "TRITON_CACHE_DIR": str(tmp_path_factory.mktemp("cache")),
    }
    command = [sys.executable, "-m", "ternary_kernels.offline", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    found = [Report(**json.loads(line)) for line in done.stdout.splitlines()]
    return {(report.target, report.name): report for report in found}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("target", "name"), CASES)
def test_no_register_is_spilled_and_shared_memory_fits(
    target: int, name: str, reports: dict[tuple[int, str], Report]
) -> None:
    report = reports[target, name]
    in_the_epilogue = {(120, "sums-prefill_tma-m1024-8192x8192"): 16}  # storing int32 instead of bfloat16
    assert report.spilled_bytes == in_the_epilogue.get((target, name), 0)
    assert not set(report.loop) & {"LDL", "STL"}
    assert report.shared_bytes <= SHARED[target]
    assert report.registers <= (224 if "prefill" in name else 200)


def tiles_of_a_warp(target: int, name: str) -> int:
    """How many tiles of 8 tokens a warp multiplies with the weights that it has unpacked, before sm_90."""
    tokens = int(name.split("-m")[1].split("-")[0])
    columns = next((size for size in (16, 32, 64) if tokens <= size), 128)
    # Where shared memory allows only 64 rows of weights, each of the eight warps unpacks all of them.
    return columns // 8 // (8 if columns == 128 and target in (89, 120) else 1)


def moved(loop: Mapping[str, int]) -> set[str]:
    """What carries values across lanes, or from registers back to shared memory."""
    return {opcode for opcode in loop if opcode.startswith(("SHFL", "STS", "STAS", "MOVM", "REDUX"))}


def family(prefix: str) -> list[object]:
    return [case for case in CASES if str(case.values[1]).startswith(prefix)]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("target", "name"), family("gemv"))
def test_the_gemv_is_dot_products_and_masks(
    target: int, name: str, reports: dict[tuple[int, str], Report]
) -> None:
    """One mask per plane and word of weights, one dot product per token; nothing crosses lanes or memory."""
    loop = reports[target, name].loop
    tokens = int(name.split("-m")[1].split("-")[0])
    assert loop["IDP"] >= 16 and loop["LOP3"] <= loop["IDP"] // tokens + 2
    assert not moved(loop) and not set(loop) & {"LDS", "PRMT", "BAR"}
    assert (loop.get("SHF", 0) == 0) == (tokens <= 2)
    words = loop["LOP3"] // 4
    assert loop["LDG"] <= words // 4 + 4 * tokens + 1, "loads of 16 bytes, activations once per token and plane"


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("target", "name"), family("skinny"))
def test_the_skinny_kernel_unpacks_in_registers(
    target: int, name: str, reports: dict[tuple[int, str], Report]
) -> None:
    """One mask and, but for plane 0, one shift per four weights; no byte permute, no way back to shared memory."""
    loop = reports[target, name].loop
    products = loop["IGMMA" if target == 90 else "IMMA"]
    assert products >= 8
    assert not moved(loop) and "PRMT" not in loop
    unpacked = 4 * products if target == 90 else 4 * products // tiles_of_a_warp(target, name)
    assert loop["LOP3"] <= unpacked + 2 and loop["SHF"] <= unpacked * 3 // 4 + 2
    assert loop["LDGSTS"] >= 5, "tiles arrive by asynchronous copies"


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("target", "name"), family("prefill"))
def test_the_prefill_loop_is_copies_and_tensor_core_instructions(
    target: int, name: str, reports: dict[tuple[int, str], Report]
) -> None:
    loop = reports[target, name].loop
    assert loop["IGMMA" if target == 90 else "IMMA"] >= 8
    assert loop["LDGSTS" if target < 90 else "UTMALDG"] >= 2
    assert not moved(loop) and "PRMT" not in loop and loop.get("LOP3", 0) <= 2, "nothing is unpacked here"


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("target", "name"), family("grouped"))
def test_the_grouped_kernel_uses_the_tensor_cores_of_its_type(
    target: int, name: str, reports: dict[tuple[int, str], Report]
) -> None:
    loop = reports[target, name].loop
    integer = "-a8-" in name
    if name.endswith("fp32"):
        assert loop["FFMA"] > 0, "float32 activations are multiplied in float32"
        return
    tensor_core = {True: ("IMMA", "IGMMA"), False: ("HMMA", "HGMMA")}[integer][target == 90]
    assert loop[tensor_core] >= 4
    assert not moved(loop)
    assert loop.get("PRMT", 0) <= (0 if integer else 64)
    assert loop.get("FFMA", 0) == 0, "product and sum of the groups are rounded apart"


def test_the_gate_covers_every_kernel() -> None:
    for device in DEVICES:
        kernels = {_name_of(variant) for variant in variants(device)}
        prefill = "prefill" if device.capability < 90 else "prefill_tma"
        assert kernels == {"gemv", "skinny", prefill, "grouped", "activate", "unpack_planes", "add_splits"}


def _name_of(variant: Variant) -> str:
    return str(variant.kernel.__name__)

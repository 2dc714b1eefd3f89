"""What this GPU reaches in this run: the denominators of every fraction in the report."""

from __future__ import annotations

import subprocess

import torch
import triton

from bench.report import Peaks
from bench.statistics import spread, teraops
from bench.timing import Timed, interleaved, timed

READ_BYTES = 1 << 30
SIDE = 8192


def measure(cache_bytes: int, rounds: int) -> Peaks:
    """Read and copy bandwidth over 1 GiB, and dense products of 8192 cubed."""
    source = torch.ones(READ_BYTES // 4, dtype=torch.float32, device="cuda")
    target = torch.empty_like(source)
    half = torch.ones(SIDE, SIDE, dtype=torch.bfloat16, device="cuda")
    byte = torch.ones(SIDE, SIDE, dtype=torch.int8, device="cuda")
    entries: dict[str, Timed] = {
        "read": timed([source.sum], cache_bytes),
        "copy": timed([lambda: target.copy_(source)], cache_bytes),
        "bf16": timed([lambda: half @ half.T], cache_bytes),
        "int8": timed([lambda: torch._int_mm(byte, byte.T)], cache_bytes),
    }
    best = {name: spread(samples).p10 for name, samples in interleaved(entries, rounds).items()}
    return Peaks(
        READ_BYTES / best["read"] / 1e3,
        2 * READ_BYTES / best["copy"] / 1e3,
        teraops(SIDE, SIDE, SIDE, best["bf16"]),
        teraops(SIDE, SIDE, SIDE, best["int8"]),
    )


def versions() -> dict[str, str]:
    """Device, driver and libraries, as every row repeats them."""
    return {
        "device": torch.cuda.get_device_name(),
        "driver": _smi("driver_version"),
        "cuda": str(torch.version.cuda),
        "torch": torch.__version__,
        "triton": triton.__version__,
    }


def clocks() -> dict[str, str]:
    """Clock, power and temperature now, from the driver's own tool; empty strings where it is absent."""
    return {
        "sm_clock": _smi("clocks.sm"),
        "power": _smi("power.draw"),
        "temperature": _smi("temperature.gpu"),
    }


def _smi(field: str) -> str:
    gpu = f"GPU-{torch.cuda.get_device_properties(0).uuid}"  # its own numbering knows no CUDA_VISIBLE_DEVICES
    command = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader", f"--id={gpu}"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""

"""Compile every kernel for a GPU that is not there and read its machine code: the regression test for speed.

    python -m ternary_kernels.offline [--json] [--target 90]

A variant is one kernel with the tile that `dispatch` would choose for a shape on a device. The report counts the
instructions of its inner loop, registers, spilled bytes and shared memory. Needs Triton, no GPU, and a process
whose kernels were not loaded for the interpreter (TRITON_INTERPRET unset).
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ternary_kernels.activation import activate, activation_warps
from ternary_kernels.dispatch import Device, Kernel, default_plan
from ternary_kernels.gemv import gemv
from ternary_kernels.grouped import grouped
from ternary_kernels.packing import packed_width
from ternary_kernels.planes import HAS_PDL
from ternary_kernels.prefill import prefill, prefill_tma, unpack_planes
from ternary_kernels.skinny import add_splits, skinny

DEVICES = (
    Device("A100", 80, 108, 166_912),
    Device("L40S", 89, 142, 101_376),
    Device("H100", 90, 132, 232_448),
    Device("RTX 5090", 120, 170, 101_376),
)
TARGETS = {device.capability: device for device in DEVICES}

ARGUMENTS = {
    "packed": "*i8", "codes": "*i8", "weights": "*i8", "x": "*bf16", "up": "*bf16", "norm_weight": "*bf16",
    "row_absmax": "*fp32", "row_sum": "*i32", "token_scale": "*fp32", "scale": "*fp32", "out": "*bf16",
    "partial": "*i32", "eps": "fp32",
}  # fmt: skip
ALIGNED = frozenset(
    {"n_rows", "words", "width", "k_size", "x_stride", "size"}
)  # multiples of 16 in every real layer

KERNELS = {
    Kernel.GEMV: gemv,
    Kernel.SKINNY: skinny,
    Kernel.PREFILL: prefill,
    Kernel.PREFILL_TMA: prefill_tma,
}


@dataclass(frozen=True)
class Variant:
    """One compilation: `name` is unique among `variants(target)`."""

    name: str
    kernel: Any
    constants: Mapping[str, object]
    types: Mapping[str, str]
    warps: int
    stages: int


@dataclass(frozen=True)
class Report:
    """What the machine code of a variant holds; `loop` counts the opcodes of the inner loop, if there is one."""

    name: str
    target: int
    loop: Mapping[str, int]
    registers: int
    spilled_bytes: int
    shared_bytes: int


def variants(device: Device) -> Iterator[Variant]:
    """Every kernel, at the tiles that `dispatch` picks for 8192 x 8192 and for BitNet-2B's down projection."""
    for m in (1, 2, 4, 16, 64, 256, 1024):
        yield _planned(m, 8192, 8192, device)
    for m in (1, 4, 16, 256):
        yield _planned(m, 2560, 6912, device)
    yield from _activations(device)
    yield from _grouped(device)
    yield from _other_types(device)
    common = {"ASM": True}
    yield Variant("unpack_planes", unpack_planes, {"BLOCK": 4096, **common}, {"out": "*i8"}, 8, 3)
    splits = {"SPLITS": 3, "BLOCK": 1024, "RAW": False, "PDL": _pdl(device), **common}
    yield Variant("add_splits", add_splits, splits, {}, 4, 3)


def compile_report(variant: Variant, device: Device) -> Report:
    """Compile with the bundled ptxas and disassemble with the bundled nvdisasm."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = variant.kernel.arg_names
    types = {name: _type_of(name, variant) for name in names}
    constants = {(names.index(name),): value for name, value in variant.constants.items()}
    aligned = [name for name in names if name in ALIGNED or types[name].startswith("*")]
    attributes = {(names.index(name),): [["tt.divisibility", 16]] for name in aligned}
    compiled = triton.compile(
        ASTSource(variant.kernel, types, constants, attributes),
        target=GPUTarget("cuda", device.capability, 32),
        options={"num_warps": variant.warps, "num_stages": variant.stages, "enable_fp_fusion": False},
    )
    tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder) / "kernel.cubin"
        cubin.write_bytes(compiled.asm["cubin"])
        code = _run(tools / "nvdisasm", "-c", cubin)
        usage = _run(tools / "cuobjdump", "-res-usage", cubin)
    registers, spilled = _usage(usage)
    return Report(variant.name, device.capability, inner_loop(code), registers, spilled, compiled.metadata.shared)


def inner_loop(code: str) -> dict[str, int]:
    """Opcode counts of the innermost loop that does the most arithmetic; empty without a loop."""
    loops = list(_loops(code.splitlines()))
    if not loops:
        return {}
    best = max(loops, key=lambda count: sum(count[op] for op in ("IDP", "IMMA", "IGMMA", "HMMA", "HGMMA")))
    return dict(sorted(best.items()))


def _loops(lines: list[str]) -> Iterator[Counter[str]]:
    """Counts per backward branch whose body holds no other backward branch."""
    labels: dict[str, int] = {}
    last_start = -1
    for number, line in enumerate(lines):
        if label := re.match(r"\s*(\.L_x_\d+):", line):
            labels[label[1]] = number
        branch = re.search(r"\bBRA\b.*`\((\.L_x_\d+)\)", line)
        # A branch to itself ends every kernel: the padding after EXIT.
        if branch and branch[1] in labels and labels[branch[1]] < number - 1 and labels[branch[1]] > last_start:
            last_start = labels[branch[1]]
            yield _count(lines[last_start:number])


def _count(lines: list[str]) -> Counter[str]:
    pattern = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9]*)")
    return Counter(found[1] for line in lines if (found := pattern.search(line)))


def _planned(m: int, n: int, k: int, device: Device) -> Variant:
    plan = default_plan(m, n, k, device)
    constants: dict[str, object] = {**plan.tile, "RAW": False, "ASM": True}
    types: dict[str, str] = {}
    match plan.kernel:
        case Kernel.GEMV:
            constants |= {"M": m, "MASKED": m <= 2, "PDL": _pdl(device)}
            types = {"packed": "*i32", "codes": "*i32"}
        case Kernel.SKINNY:
            constants |= {"EVEN_K": packed_width(k) % plan.tile["BK"] == 0, "PDL": _pdl(device)}
            types = {"out": "*i32"} if plan.tile["SPLITS"] > 1 else {}
        case Kernel.PREFILL:
            constants |= {"WORDS": device.capability < 90}
        case Kernel.PREFILL_TMA:
            types = {
                "codes": f"tensordesc<i8[{plan.tile['BM']}, {plan.tile['BK']}]>",
                "weights": f"tensordesc<i8[{plan.tile['BN']}, {plan.tile['BK']}]>",
            }
    return Variant(f"{plan.kernel}-m{m}-{n}x{k}", KERNELS[plan.kernel], constants, types, plan.warps, plan.stages)


def _activations(device: Device) -> Iterator[Variant]:
    for name, runs, gate, norm in (
        ("plain", 128, 0, False),
        ("relu2-norm", 256, 1, True),
        ("longest", 1024, 1, True),
    ):
        flags = {"GATE": gate, "NORM": norm, "ABSMAX": False, "ASM": True, "PDL": _pdl(device)}
        yield Variant(f"activate-{name}", activate, {"RUNS": runs, **flags}, {}, activation_warps(runs), 3)


def _grouped(device: Device) -> Iterator[Variant]:
    for kind, dtype in (("a8", "*i8"), ("a16", "*bf16")):
        for bm in (16, 64):
            flags = {"BN": 64, "BM": bm, "A8": kind == "a8", "EVEN_K": True, "ASM": True, "PDL": _pdl(device)}
            yield Variant(f"grouped-{kind}-bm{bm}", grouped, flags, {"x": dtype}, 4, 4 if bm < 64 else 3)


def _other_types(device: Device) -> Iterator[Variant]:
    """The types and flags that the variants above leave out."""
    for dtype in ("fp16", "fp32"):
        flags = {"BN": 64, "BM": 16, "A8": False, "EVEN_K": False, "ASM": True, "PDL": _pdl(device)}
        yield Variant(f"grouped-a16-{dtype}", grouped, flags, {"x": f"*{dtype}", "out": f"*{dtype}"}, 4, 4)
        silu = {"RUNS": 128, "GATE": 2, "NORM": True, "ABSMAX": True, "ASM": True, "PDL": _pdl(device)}
        rows = {"x": f"*{dtype}", "up": f"*{dtype}", "norm_weight": f"*{dtype}"}
        yield Variant(f"activate-silu-{dtype}", activate, silu, rows, 4, 3)
    for m in (3, 16, 1024):
        planned = _planned(m, 8192, 8192, device)
        sums = {**planned.constants, "RAW": True}
        yield replace(planned, name=f"sums-{planned.name}", constants=sums, types={**planned.types, "out": "*i32"})


def _type_of(name: str, variant: Variant) -> str:
    if name in variant.constants:
        return "constexpr"
    return variant.types.get(name) or ARGUMENTS.get(name, "i32")


def _pdl(device: Device) -> bool:
    return HAS_PDL and device.capability >= 90


def _run(tool: Path, *arguments: object) -> str:
    command = [str(tool), *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _usage(text: str) -> tuple[int, int]:
    """(registers per thread, stack and local bytes per thread) from cuobjdump."""
    found = {key: int(value) for key, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", text)}
    return found["REG"], found["STACK"] + found["LOCAL"]


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m ternary_kernels.offline", description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.add_argument("--target", type=int, action="append", choices=sorted(TARGETS), help="compute capability")
    options = parser.parse_args(arguments)
    for capability in options.target or sorted(TARGETS):
        for variant in variants(TARGETS[capability]):
            report = compile_report(variant, TARGETS[capability])
            if options.json:
                print(json.dumps(asdict(report)), flush=True)
            else:
                loop = " ".join(f"{op}:{count}" for op, count in report.loop.items())
                head = f"sm_{report.target:<4}{report.name:32}{report.registers:4} registers"
                print(
                    f"{head}{report.spilled_bytes:6} B spilled{report.shared_bytes:8} B shared  {loop}", flush=True
                )


if __name__ == "__main__":
    main(sys.argv[1:])

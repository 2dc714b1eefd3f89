"""Which kernel with which tile: a pure function of M, N, K and the device over measured tables, else a default.

A table is one JSON file per device in `configs/`, written by the bench from its own measurement and holding
winners only (`configs/README.md` describes it). For a device or shape without a row the default below is used;
it is derived from the device's properties, not from a measurement. Nothing is tuned at run time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path

from ternary_kernels.packing import packed_width

CONFIGS = Path(__file__).parent / "configs"
GEMV_MAX_M = 4
PREFILL_MIN_M = 384
MAX_SPLITS = 8


class Kernel(StrEnum):
    GEMV = "gemv"
    SKINNY = "skinny"
    PREFILL = "prefill"
    PREFILL_TMA = "prefill_tma"


@dataclass(frozen=True)
class Device:
    """What a choice depends on. `shared_bytes` is the shared memory one program may use."""

    name: str
    capability: int  # 80, 89, 90, 120
    multiprocessors: int
    shared_bytes: int


@dataclass(frozen=True)
class Plan:
    """A kernel and its tile: the kernel's constexpr arguments by name, and the launch options."""

    kernel: Kernel
    tile: Mapping[str, int]
    warps: int
    stages: int = 1


@dataclass(frozen=True)
class Winner:
    """A measured row: `plan` won at (n, k) for m from `m_min` to `m_max`, both included."""

    n: int
    k: int
    m_min: int
    m_max: int
    plan: Plan


@dataclass(frozen=True)
class Table:
    device: str
    versions: Mapping[str, str] = field(default_factory=dict)
    measured_at: str = ""
    winners: tuple[Winner, ...] = ()


def choose(m: int, n: int, k: int, device: Device, tables: Iterable[Table] = ()) -> Plan:
    """The plan for y[m, n] = x[m, k] W[n, k]: the winner whose range of m holds it, or the default."""
    rows = [
        winner
        for table in tables
        if table.device == device.name
        for winner in table.winners
        if (winner.n, winner.k) == (n, k) and winner.m_min <= m <= winner.m_max
    ]
    if rows:
        return min(rows, key=lambda winner: winner.m_max).plan
    return default_plan(m, n, k, device)


def default_plan(m: int, n: int, k: int, device: Device) -> Plan:
    """The regimes of the reference: integer dot product up to 4 tokens, skinny up to 383, then two phases."""
    width = packed_width(k)
    if m <= GEMV_MAX_M:
        return _gemv(m, n, width // 4, device)
    if m < PREFILL_MIN_M:
        return _skinny(m, n, width, device)
    return _prefill(device)


def _gemv(m: int, n: int, words: int, device: Device) -> Plan:
    """The step that wastes the fewest lanes, then the most rows that keep every multiprocessor busy twice."""
    step = min((128, 64, 32), key=lambda size: (-(-words // size) * size, -size))
    rows = (2048 if m == 1 else 1024) // step
    while rows * step > 512 and -(-n // rows) < 2 * device.multiprocessors:
        rows //= 2
    return Plan(Kernel.GEMV, {"ROWS": rows, "STEP": step}, warps=4)


def _skinny(m: int, n: int, width: int, device: Device) -> Plan:
    """BM covers M up to 128; K is split until the programs fill the device, every split keeping two steps."""
    bm = next((size for size in (16, 32, 64) if m <= size), 128)
    bn, bk, warps = (128, 64, 8) if bm == 128 else (64, 128, 4)
    stages = 3 if bm >= 64 else 4
    if device.shared_bytes < 120_000 and bm == 128:
        bn = 64
    programs = -(-n // bn) * -(-m // bm)
    splits = max(1, min(MAX_SPLITS, device.multiprocessors // programs, -(-width // bk) // 2))
    return Plan(Kernel.SKINNY, {"BN": bn, "BM": bm, "BK": bk, "SPLITS": splits}, warps, stages)


def _prefill(device: Device) -> Plan:
    if device.capability < 90:
        return Plan(Kernel.PREFILL, {"BM": 128, "BN": 128, "BK": 128, "GROUP": 8}, warps=8, stages=3)
    if device.shared_bytes < 200_000:
        return Plan(Kernel.PREFILL_TMA, {"BM": 128, "BN": 128, "BK": 64, "GROUP": 8}, warps=8, stages=4)
    return Plan(Kernel.PREFILL_TMA, {"BM": 128, "BN": 256, "BK": 128, "GROUP": 8}, warps=8, stages=4)


@cache
def shipped_tables(folder: Path = CONFIGS) -> tuple[Table, ...]:
    """All tables of a folder, read once."""
    return tuple(parse_table(path.read_text()) for path in sorted(folder.glob("*.json")))


def parse_table(text: str) -> Table:
    """JSON -> Table; raises ValueError or KeyError on what is not one."""
    raw = json.loads(text)
    winners = tuple(
        Winner(
            n=int(row["n"]),
            k=int(row["k"]),
            m_min=int(row["m_min"]),
            m_max=int(row["m_max"]),
            plan=Plan(Kernel(row["kernel"]), dict(row["tile"]), int(row["warps"]), int(row["stages"])),
        )
        for row in raw["winners"]
    )
    return Table(str(raw["device"]), dict(raw["versions"]), str(raw["measured_at"]), winners)


def render_table(table: Table) -> str:
    """Table -> JSON, the inverse of `parse_table`."""
    winners = [
        {
            "n": winner.n,
            "k": winner.k,
            "m_min": winner.m_min,
            "m_max": winner.m_max,
            "kernel": winner.plan.kernel.value,
            "tile": dict(winner.plan.tile),
            "warps": winner.plan.warps,
            "stages": winner.plan.stages,
        }
        for winner in table.winners
    ]
    body = {
        "device": table.device,
        "measured_at": table.measured_at,
        "versions": dict(table.versions),
        "winners": winners,
    }
    return json.dumps(body, indent=1) + "\n"

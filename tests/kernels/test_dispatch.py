"""The choice of kernel and tile is a pure function over tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ternary_kernels.dispatch import (
    CONFIGS,
    Device,
    Kernel,
    Plan,
    Table,
    Winner,
    choose,
    default_plan,
    parse_table,
    render_table,
    shipped_tables,
)
from ternary_kernels.offline import DEVICES
from ternary_kernels.packing import CODE_SLACK, packed_width

H100 = next(device for device in DEVICES if device.capability == 90)
LAYERS = [(3840, 2560), (2560, 2560), (2560, 6912), (8192, 8192), (57344, 8192), (100, 130), (1, 1)]
TILED = Plan(Kernel.SKINNY, {"BN": 64, "BM": 16, "BK": 128, "SPLITS": 2}, warps=4, stages=4)


def table(device: str = "H100") -> Table:
    gemv = Plan(Kernel.GEMV, {"ROWS": 8, "STEP": 32}, 4)
    winners = (Winner(8192, 8192, 3, 4, TILED), Winner(8192, 8192, 5, 16, gemv))
    return Table(device, {"triton": "3.9.0"}, "2026-01-01T00:00:00Z", winners)


@pytest.mark.parametrize(
    ("m", "kernel"),
    [(1, "gemv"), (4, "gemv"), (5, "skinny"), (383, "skinny"), (384, "prefill_tma"), (8192, "prefill_tma")],
)
def test_without_a_table_the_regimes_of_m_decide(m: int, kernel: str) -> None:
    assert choose(m, 8192, 8192, H100).kernel == kernel


@pytest.mark.parametrize("capability", [80, 89])
def test_devices_without_tensor_memory_access_get_the_plain_product(capability: int) -> None:
    device = next(device for device in DEVICES if device.capability == capability)
    assert default_plan(1024, 8192, 8192, device).kernel is Kernel.PREFILL


def test_a_measured_winner_holds_for_its_range_of_m_and_its_shape_only() -> None:
    for m in (1, 2):
        assert choose(m, 8192, 8192, H100, [table()]) == default_plan(m, 8192, 8192, H100), "the default won here"
    assert choose(3, 8192, 8192, H100, [table()]) == TILED
    assert choose(5, 8192, 8192, H100, [table()]).kernel is Kernel.GEMV
    assert choose(17, 8192, 8192, H100, [table()]) == default_plan(17, 8192, 8192, H100)
    assert choose(3, 8192, 4096, H100, [table()]) == default_plan(3, 8192, 4096, H100)


def test_the_table_of_another_device_is_not_used() -> None:
    assert choose(3, 8192, 8192, H100, [table("A100")]) == default_plan(3, 8192, 8192, H100)


def test_a_table_survives_writing_and_reading() -> None:
    assert parse_table(render_table(table())) == table()


@pytest.mark.parametrize("text", ["{", "{}", json.dumps({"device": "x", "versions": {}, "measured_at": ""})])
def test_what_is_no_table_is_refused(text: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        parse_table(text)


def test_every_shipped_table_names_its_measurement(tmp_path: Path) -> None:
    for shipped in shipped_tables(CONFIGS):
        assert shipped.measured_at and {"torch", "triton", "driver"} <= set(shipped.versions)
    (tmp_path / "made.json").write_text(render_table(table()))
    assert shipped_tables(tmp_path) == (table(),)


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.name)
@pytest.mark.parametrize("layer", LAYERS)
def test_every_default_tile_fits_the_kernels(device: Device, layer: tuple[int, int]) -> None:
    n, k = layer
    for m in (1, 2, 3, 4, 5, 16, 17, 63, 64, 65, 127, 128, 255, 383, 384, 4095):
        plan = default_plan(m, n, k, device)
        assert all(size & (size - 1) == 0 for name, size in plan.tile.items() if name != "SPLITS")
        if plan.kernel is Kernel.GEMV:
            assert 4 * plan.tile["STEP"] <= CODE_SLACK and plan.tile["ROWS"] * plan.tile["STEP"] >= 512
        if plan.kernel is Kernel.SKINNY:
            steps = -(-packed_width(k) // plan.tile["BK"])
            assert 1 <= plan.tile["SPLITS"] <= max(1, steps // 2)
            assert plan.warps >= 4
        if plan.kernel in (Kernel.PREFILL, Kernel.PREFILL_TMA):
            assert (4 * packed_width(k)) % plan.tile["BK"] == 0


def test_the_small_layers_of_a_2b_model_still_fill_an_h100() -> None:
    for n, k in ((3840, 2560), (2560, 2560), (2560, 6912)):
        gemv = default_plan(1, n, k, H100)
        skinny = default_plan(16, n, k, H100)
        assert -(-n // gemv.tile["ROWS"]) >= H100.multiprocessors
        assert -(-n // skinny.tile["BN"]) * skinny.tile["SPLITS"] >= H100.multiprocessors // 2

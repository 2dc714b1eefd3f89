"""No request is the first to use a kernel."""

from __future__ import annotations

import pytest
from ternary_kernels.dispatch import Device, Kernel, Plan, Table, Winner, choose
from ternary_kernels.vllm_plugin.warm_up import first_uses

H100 = Device("NVIDIA H100 80GB HBM3", 90, 132, 232_448)
MEASURED = Table(H100.name, winners=(Winner(3840, 2560, 1, 96, Plan(Kernel.SKINNY, {"BM": 96}, 4)),))


@pytest.mark.parametrize(("rows", "columns"), [(3840, 2560), (2560, 6912), (57344, 8192)])
@pytest.mark.parametrize("tables", [(), (MEASURED,)])
def test_every_plan_up_to_the_largest_step_is_run_once_at_load(
    rows: int, columns: int, tables: tuple[Table, ...]
) -> None:
    sizes = first_uses(rows, columns, 2048, H100, tables)
    warm = [choose(tokens, rows, columns, H100, tables) for tokens in sizes]
    met = [choose(tokens, rows, columns, H100, tables) for tokens in range(1, 2049)]
    assert all(plan in warm for plan in met)
    few = {tokens for tokens, plan in enumerate(met, start=1) if plan.kernel is Kernel.GEMV}
    assert few <= set(sizes), "this kernel has the number of tokens compiled in"
    assert len(sizes) <= 32

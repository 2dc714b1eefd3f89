"""Every loss or delay on the way of money is a number that can be scraped."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from router.duties.drain import DirtyShards, Drain
from router.duties.metrics import COUNTERS, GAUGES, LedgerMetrics
from router.duties.reap import Reaper
from router.ledger.kept import KeptSettlements
from router.ledger.memory_ledger import MemoryLedger
from router.ledger.spool import Spool
from router.memory_broker import MemoryBroker
from router.ports import Reservation
from tests.ledger.calls import Clock, event, grant, request


async def test_what_the_duties_count_is_scraped(tmp_path: Path) -> None:
    registry, clock = CollectorRegistry(), Clock()
    metrics, ledger = LedgerMetrics.register(registry), MemoryLedger(clock=clock)
    reaper, spool = Reaper(ledger), Spool(tmp_path)
    drain = Drain(ledger.outbox, MemoryBroker(), DirtyShards())
    for part in (reaper, spool, drain, KeptSettlements()):
        metrics.watch(part)
    reservation = await ledger.reserve(request(grant()))
    assert isinstance(reservation, Reservation)
    clock.turn(60)
    await reaper.sweep()
    await drain.empty(range(64))
    await spool.append(event(reservation))
    spool.close()
    scraped = generate_latest(registry).decode()
    for line in (
        "reap_calls_total 1.0",
        "publish_events_total 1.0",
        "spool_waiting 1.0",
        "spool_refused_total 0.0",
    ):
        assert f"tern_router_{line}\n" in scraped


def test_a_part_that_is_not_run_reads_as_nothing() -> None:
    registry = CollectorRegistry()
    LedgerMetrics.register(registry)
    scraped = generate_latest(registry).decode()
    assert all(f"tern_router_{name} 0.0" in scraped for name in GAUGES)
    assert all(f"tern_router_{name}_total 0.0" in scraped for name in COUNTERS)

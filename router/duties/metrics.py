"""What the ledger's duties count: every loss or delay on the way of money has a number that can raise an alarm."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from router.duties.drain import Drain
from router.duties.reap import Reaper
from router.ledger.kept import KeptSettlements
from router.ledger.recovery import Recovery
from router.ledger.spool import Spool

COUNTERS: Final = {
    "reap_calls": "Calls whose router died, settled at the last count recorded.",
    "publish_events": "Usage events that the broker confirmed.",
    "spool_refused": "Settlements that the spool could not take: their calls are reaped.",
    "spool_unreadable": "Spooled lines that were no settlement, kept aside.",
    "ledger_forgotten": "Settlements no longer kept against data loss: no room while the broker is away.",
    "ledger_rebuilt": "Organizations whose counters were rebuilt from analytics.",
}
GAUGES: Final = {
    "spool_waiting": "Settlements on disk that the ledger has not taken yet.",
    "publish_backing_off": "1 while the broker does not confirm.",
}
NAMESPACE: Final = "tern_router"


@dataclass(slots=True, eq=False)
class LedgerMetrics(Collector):
    """Reads its figures when it is scraped; a part that this router runs without stays at 0."""

    figures: dict[str, Callable[[], float]] = field(default_factory=dict)

    @classmethod
    def register(cls, registry: CollectorRegistry) -> LedgerMetrics:
        metrics = cls()
        registry.register(metrics)
        return metrics

    def watch(self, part: Reaper | Drain | Spool | KeptSettlements | Recovery) -> None:
        match part:
            case Reaper():
                self.figures["reap_calls"] = lambda: part.reaped_total
            case Drain():
                self.figures["publish_events"] = lambda: part.published_total
                self.figures["publish_backing_off"] = lambda: part.is_backing_off
            case Spool():
                self.figures["spool_waiting"] = lambda: part.waiting
                self.figures["spool_refused"] = lambda: part.refused_total
                self.figures["spool_unreadable"] = lambda: part.unreadable_total
            case KeptSettlements():
                self.figures["ledger_forgotten"] = lambda: part.forgotten_total
            case Recovery():
                self.figures["ledger_rebuilt"] = lambda: part.rebuilt_total

    def collect(self) -> Iterable[Metric]:
        for name, text in COUNTERS.items():
            yield CounterMetricFamily(f"{NAMESPACE}_{name}", text, value=self._now(name))
        for name, text in GAUGES.items():
            yield GaugeMetricFamily(f"{NAMESPACE}_{name}", text, value=self._now(name))

    def _now(self, name: str) -> float:
        return float(self.figures.get(name, lambda: 0.0)())

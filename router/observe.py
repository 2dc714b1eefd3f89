"""What the stops report, turned into counts and log lines."""

from __future__ import annotations

from contracts.catalog import Upstream
from contracts.usage_event import UsageEvent
from router.log import JsonLog
from router.metrics import Metrics
from router.ports import SettleOutcome
from router.upstreams.upstreams import UpstreamFault


class Observer:
    """The FaultObserver of the relay and the SettleObserver of the settler."""

    def __init__(self, metrics: Metrics, log: JsonLog) -> None:
        self._metrics = metrics
        self._log = log

    def fault(self, upstream: Upstream, fault: UpstreamFault, ejected: bool) -> None:
        self._metrics.fault(upstream, fault, ejected)
        self._log.warning("upstream_fault", upstream=upstream.id, fault=str(fault), ejected=ejected)

    def settled(self, event: UsageEvent, outcome: SettleOutcome) -> None:
        self._metrics.settled(event, outcome)

    def released(self, call_id: str) -> None:
        self._metrics.released()

    def unsettled(self, call_id: str, error: Exception) -> None:
        self._metrics.unsettled()
        self._log.error("unsettled", request_id=call_id, error=str(error))

"""What the router counts, one group per stop. Names of tenants are never labels: their number has no bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from contracts.catalog import Upstream
from contracts.usage_event import UsageEvent
from router.ports import SettleOutcome
from router.upstreams.upstreams import UpstreamFault

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
CONTENT_TYPE: Final = CONTENT_TYPE_LATEST


class Metrics:
    """Children of labelled metrics are looked up once and kept: a lookup costs more than an increment."""

    def __init__(self, open_calls: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        self._replies = self._counter("receive_replies", "Answers by path and status.", "path", "status")
        self._refused = self._counter("admit_refused", "Calls that a limit refused.", "level", "dimension")
        self._faults = self._counter("relay_faults", "Failed attempts on upstreams.", "upstream", "kind")
        self._ejections = self._counter("relay_ejections", "Upstreams taken out after faults.", "upstream")
        self._settled = self._counter("settle_calls", "Settled calls.", "model", "status", "source", "outcome")
        self._tokens = self._counter("settle_tokens", "Metered tokens.", "model", "kind")
        self._released = self._counter("settle_released", "Calls that cost nothing.")
        self._unsettled = self._counter("settle_retries", "Settlements that the ledger did not answer.")
        self._duration = self._histogram("relay_call_seconds", "Duration of settled calls.", "model")
        self._first = self._histogram("relay_first_token_seconds", "Time to the first frame.", "model")
        gauge = Gauge("tern_router_relay_open_calls", "Calls that hold a reservation.", registry=self.registry)
        gauge.set_function(open_calls)
        self._counters: dict[tuple[object, ...], Counter] = {}
        self._histograms: dict[tuple[object, ...], Histogram] = {}

    def replied(self, path: str, status: int) -> None:
        self._count(self._replies, path, status)

    def refused(self, level: str, dimension: str) -> None:
        self._count(self._refused, level, dimension)

    def fault(self, upstream: Upstream, fault: UpstreamFault, ejected: bool) -> None:
        self._count(self._faults, upstream.id, fault.kind.value)
        if ejected:
            self._count(self._ejections, upstream.id)

    def settled(self, event: UsageEvent, outcome: SettleOutcome) -> None:
        model = event.model_id
        self._count(self._settled, model, event.status.value, event.usage_source.value, outcome.value)
        self._count(self._tokens, model, "input", amount=event.tokens.input)
        self._count(self._tokens, model, "output", amount=event.tokens.output)
        self._observe(self._duration, event.duration_ms / 1000, model)
        if event.first_token_ms is not None:
            self._observe(self._first, event.first_token_ms / 1000, model)

    def released(self) -> None:
        self._released.inc()

    def unsettled(self) -> None:
        self._unsettled.inc()

    def render(self) -> bytes:
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"tern_router_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"tern_router_{name}", text, labels, buckets=SECONDS, registry=self.registry)

    def _count(self, counter: Counter, *labels: object, amount: float = 1) -> None:
        key = (counter, *labels)
        child = self._counters.get(key)
        if child is None:
            child = self._counters[key] = counter.labels(*labels)
        child.inc(amount)

    def _observe(self, histogram: Histogram, value: float, *labels: object) -> None:
        key = (histogram, *labels)
        child = self._histograms.get(key)
        if child is None:
            child = self._histograms[key] = histogram.labels(*labels)
        child.observe(value)

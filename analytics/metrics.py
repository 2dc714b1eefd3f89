"""What is counted, in a registry of its own for each process or test."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

LAG_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600, 86400)


class WorkerMetrics:
    """`duplicates` is at-least-once delivery at work; `dead_lettered` and `faults` are for alarms."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.recorded = Counter(
            "tern_analytics_record_events_total", "Events recorded for the first time.", registry=registry
        )
        self.duplicates = Counter(
            "tern_analytics_record_duplicates_total", "Events that had been recorded before.", registry=registry
        )
        self.dead_lettered = Counter(
            "tern_analytics_consume_dead_letters_total", "Events put aside with a reason.", registry=registry
        )
        self.faults = Counter(
            "tern_analytics_consume_faults_total", "Turns that ended in a fault.", ["part"], registry=registry
        )
        self.lag_seconds = Histogram(
            "tern_analytics_record_lag_seconds",
            "From the call (ledger's clock) to its record.",
            buckets=LAG_BUCKETS,
            registry=registry,
        )
        self.connected = Gauge(
            "tern_analytics_consume_connected", "1 while events can arrive and be recorded.", registry=registry
        )


class ApiMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.requests = Counter(
            "tern_analytics_http_requests_total", "Requests by route and status.", ["route", "status"],
            registry=registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "tern_analytics_http_seconds", "Time to answer.", ["route"], registry=registry
        )  # fmt: skip

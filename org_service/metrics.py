"""What the org service counts. One registry per app: no globals."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "tern_org_requests", "Requests answered", ["method", "route", "status"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "tern_org_request_seconds", "Time to answer", ["method", "route"], registry=self.registry
        )
        self.relayed_changes = Counter(
            "tern_org_relayed_changes", "Changes that left for the feed", registry=self.registry
        )
        self.relay_failures = Counter(
            "tern_org_relay_failures",
            "Times that the relay found PostgreSQL or Redis away",
            registry=self.registry,
        )

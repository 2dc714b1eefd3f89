"""The load metrics that a router reads, under vLLM's names and labels."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

Reading = Callable[[], float]
_LABELS = ("engine", "model_name")


class EngineMetrics:
    """Counters are moved by the engine; gauges ask the engine when they are read."""

    def __init__(self, model_name: str) -> None:
        self._registry = CollectorRegistry()
        self._labels = {"engine": "0", "model_name": model_name}
        self.prompt_tokens = self._counter("vllm:prompt_tokens", "Prompt tokens processed.")
        self.generation_tokens = self._counter("vllm:generation_tokens", "Tokens generated and handed on.")
        self._finished = Counter(
            "vllm:request_success",
            "Choices that ended, by reason.",
            (*_LABELS, "finished_reason"),
            registry=self._registry,
        )

    def finished(self, reason: str) -> None:
        self._finished.labels(**self._labels, finished_reason=reason).inc()

    def watch(self, running: Reading, waiting: Reading, cache: Reading) -> None:
        self._gauge("vllm:num_requests_running", "Choices in the running batch.", running)
        self._gauge("vllm:num_requests_waiting", "Choices that wait for a slot.", waiting)
        self._gauge("vllm:kv_cache_usage_perc", "Used part of the key-value cache, 0 to 1.", cache)

    def render(self) -> bytes:
        return generate_latest(self._registry)

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(name, text, _LABELS, registry=self._registry).labels(**self._labels)

    def _gauge(self, name: str, text: str, read: Reading) -> None:
        Gauge(name, text, _LABELS, registry=self._registry).labels(**self._labels).set_function(read)

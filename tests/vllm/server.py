"""A real `vllm serve` with the plugin, as a child process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tern.stack.process import free_port, spawn

START_SECONDS = 240
MODEL = "ternary"


@dataclass(frozen=True)
class Server:
    url: str

    def metric(self, name: str) -> float:
        """The sum of a `vllm:` metric over its labels."""
        text = httpx.get(f"{self.url}/metrics").text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return sum(sample.value for sample in samples if sample.name == f"vllm:{name}")


@contextmanager
def vllm_serve(checkpoint: Path, *arguments: str) -> Iterator[Server]:
    """`vllm serve` of one checkpoint in float32, with nothing on the command line that names our plugin."""
    port = free_port()
    command = [Path(sys.executable).with_name("vllm"), "serve", checkpoint, "--served-model-name", MODEL]
    command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--enforce-eager"]
    command += ["--max-model-len", "1024", "--kv-cache-memory-bytes", str(1 << 26), *arguments]
    with TemporaryDirectory(prefix="tern-vllm-") as directory:
        part = spawn("vllm", command, Path(directory))
        url = f"http://127.0.0.1:{port}"
        part.wait_ready(lambda: _is_ready(url), START_SECONDS)
        try:
            yield Server(url)
        finally:
            part.stop(grace_seconds=30)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=2).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False

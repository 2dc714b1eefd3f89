"""sglang-router (SGLang Model Gateway): a Rust proxy, no keys, budgets or metering. Round robin."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders.contract import Site, Standing
from benchmarks.contenders.peer import Peer, standing_peer
from benchmarks.load import Target
from benchmarks.upstream import MODEL
from tern.stack.process import free_port


@dataclass(frozen=True)
class SglangRouter(Peer):
    name: str = "sglang-router"

    @contextmanager
    def start(self, site: Site) -> Iterator[Standing]:
        port, metrics = free_port(), free_port()
        argv: list[str | Path] = [
            site.work / self.name / "bin/python", "-m", "sglang_router.launch_router",
            "--worker-urls", site.upstream_url, "--policy", "round_robin",
            "--host", "127.0.0.1", "--port", str(port),
            "--prometheus-host", "127.0.0.1", "--prometheus-port", str(metrics), "--log-level", "warn",
        ]  # fmt: skip
        target = Target(f"http://127.0.0.1:{port}/v1", MODEL)
        with standing_peer(self.name, argv, port, target, site, {}) as standing:
            yield standing

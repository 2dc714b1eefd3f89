"""Portkey's open-source gateway on Node, headless: routes by headers; no keys, budgets or metering."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.contenders.contract import Site, Standing
from benchmarks.contenders.environment import install_from_npm
from benchmarks.contenders.peer import Peer, standing_peer
from benchmarks.load import Target
from benchmarks.upstream import MODEL
from tern.stack.process import free_port

PACKAGE = "@portkey-ai/gateway"


@dataclass(frozen=True)
class Portkey(Peer):
    name: str = "portkey"

    def install(self, home: Path) -> None:
        install_from_npm(self.name, home)

    @contextmanager
    def start(self, site: Site) -> Iterator[Standing]:
        port = free_port()
        server = site.work / self.name / "node_modules" / PACKAGE / "build/start-server.js"
        argv: list[str | Path] = ["node", server, f"--port={port}", "--headless"]
        headers = {
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": f"{site.upstream_url}/v1",
            "authorization": "Bearer none",
        }
        env = {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": str(urlsplit(site.upstream_url).hostname)}
        target = Target(f"http://127.0.0.1:{port}/v1", MODEL, headers)
        with standing_peer(self.name, argv, port, target, site, env) as standing:
            yield standing

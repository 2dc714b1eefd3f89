"""Tern with everything on: keys, limits on all four levels, reserve and settle in a Redis that keeps its file,
usage events through RabbitMQ into PostgreSQL, metrics. One router process on the gateway's core, as the peers.

What it leans on runs beside the load and is listed with CPU time of its own: Redis, RabbitMQ, and what is not in
the path of a request (org_service, the analytics worker and their PostgreSQL).
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders.contract import Site, Standing
from benchmarks.contenders.tern_account import open_account, set_limits
from benchmarks.contenders.tern_parts import Parts, migrate, start_parts
from benchmarks.load import Target
from benchmarks.process import listening, pinned
from benchmarks.upstream import MODEL
from tern.stack.process import free_port

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Tern:
    name: str = "tern"
    version: str = "-"

    def install(self, home: Path) -> None:
        """It is what this process runs from."""

    @contextmanager
    def start(self, site: Site) -> Iterator[Standing]:
        with ExitStack() as stack:
            parts = stack.enter_context(start_parts(site.logs))
            asyncio.run(migrate(parts))
            account = asyncio.run(open_account(parts, site.upstream_url))
            services = Services(parts, site, secrets.token_hex(16), stack)
            org_url, org_pid = services.org_service()
            set_limits(org_url, account)
            worker_pid = services.worker(org_url)
            url, pid = services.router(org_url)
            headers = {"authorization": f"Bearer {account.api_key}"}
            beside = {**parts.pids, "org_service": org_pid, "worker": worker_pid}
            yield Standing(Target(f"{url}/v1", MODEL, headers), pid, beside)


@dataclass(frozen=True)
class Services:
    """Starts Tern's own processes, configured by their environment as anywhere else."""

    parts: Parts
    site: Site
    token: str
    stack: ExitStack

    def org_service(self) -> tuple[str, int]:
        env = {"DATABASE_URL": self.parts.org_database, "REDIS_URL": self.parts.redis, "SERVICE_TOKEN": self.token}
        return self._start("org_service", ["serve"], "TERN_ORG_", "LISTEN_PORT", env, self.site.parts_core)

    def worker(self, org_service_url: str) -> int:
        env = {
            "DATABASE_URL": self.parts.analytics_database,
            "AMQP_URL": self.parts.amqp,
            "SERVICE_TOKEN": self.token,
            "ORG_SERVICE_URL": org_service_url,
            "ORG_SERVICE_TOKEN": self.token,
        }
        core = self.site.parts_core
        return self._start("analytics", ["worker"], "TERN_ANALYTICS_", "WORKER_LISTEN_PORT", env, core)[1]

    def router(self, org_service_url: str) -> tuple[str, int]:
        env = {
            "REDIS_URL": self.parts.redis,
            "AMQP_URL": self.parts.amqp,
            "SERVICE_TOKEN": self.token,
            "ORG_SERVICE_URL": org_service_url,
            "DRAIN_SECONDS": "0",
        }
        return self._start("router", [], "TERN_ROUTER_", "LISTEN_PORT", env, self.site.gateway_core)

    def _start(
        self, module: str, arguments: list[str], prefix: str, port_name: str, env: Mapping[str, str], core: int
    ) -> tuple[str, int]:
        port = free_port()
        argv = pinned([sys.executable, "-m", module, *arguments], core)
        named = {prefix + name: value for name, value in {**env, port_name: str(port)}.items()}
        held = listening(f"tern-{module}", argv, port, self.site.logs, named, run_in=ROOT)
        return f"http://127.0.0.1:{port}", self.stack.enter_context(held).process.pid

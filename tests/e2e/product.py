"""A whole deployment as processes: routers, org_service, analytics and its worker, on real servers of its own.

Every process can be killed and started again on the same port with the same state.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import redis

import analytics.migrate
import org_service.migrate
from contracts.catalog import Capabilities, Catalog, Model, Price, Upstream
from contracts.topology import SPEND_PATH
from org_service.bootstrap import Installation, Plan, bootstrap
from tern.stack.process import Part, accepts_connections, free_port, spawn
from tests.parts.servers import folder, start_postgres, start_rabbitmq, start_redis

ROOT = Path(__file__).parents[2]
TOKEN = "service-token-of-the-tests"
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
PRICE = Price(
    version="p1",
    effective_from=LONG_AGO,
    input_nano_usd_per_million=100_000_000,
    output_nano_usd_per_million=400_000_000,
)


@dataclass
class Servers:
    """The real parts under one deployment."""

    directory: Path
    redis_port: int = field(default_factory=free_port)
    amqp_port: int = field(default_factory=free_port)
    postgres_port: int = field(default_factory=free_port)
    parts: dict[str, Part] = field(default_factory=dict)

    @property
    def redis_url(self) -> str:
        return f"redis://127.0.0.1:{self.redis_port}/0"

    @property
    def amqp_url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.amqp_port}/"

    def database_url(self, name: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.postgres_port}/{name}"

    def start(self) -> None:
        self.start_redis()
        self.start_rabbitmq()
        self.parts["postgres"] = start_postgres(self._room("postgres"), self.postgres_port)
        with psycopg.connect(self.database_url("postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE org")
            connection.execute("CREATE DATABASE analytics")

    def start_redis(self) -> None:
        self.parts["redis"] = start_redis(self._room("redis"), self.redis_port, append_only=True)

    def start_rabbitmq(self) -> None:
        self.parts["rabbitmq"] = start_rabbitmq(self._room("rabbitmq"), self.amqp_port)

    def stop(self) -> None:
        for part in reversed(self.parts.values()):
            part.stop(grace_seconds=20)

    def _room(self, name: str) -> Path:
        room = self.directory / name
        room.mkdir(exist_ok=True)
        room.chmod(0o755)
        return room


@dataclass
class Product:
    """Addresses, keys and processes. `routers` are base URLs without a path."""

    servers: Servers
    directory: Path
    router_ports: list[int]
    org_port: int = field(default_factory=free_port)
    analytics_port: int = field(default_factory=free_port)
    worker_port: int = field(default_factory=free_port)
    router_settings: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    processes: dict[str, Part] = field(default_factory=dict)
    api_key: str = ""
    admin_key: str = ""
    organization_id: str = ""
    project_id: str = ""

    @property
    def routers(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.router_ports]

    @property
    def org_url(self) -> str:
        return f"http://127.0.0.1:{self.org_port}"

    @property
    def analytics_url(self) -> str:
        return f"http://127.0.0.1:{self.analytics_port}"

    async def install(self, catalog: Catalog) -> None:
        """Migrate both databases, found the organization, bring the catalog about."""
        analytics.migrate.migrate(self.servers.database_url("analytics"))
        await org_service.migrate.migrate(self.servers.database_url("org"))
        made: Installation = await bootstrap(self.servers.database_url("org"), Plan(catalog=catalog))
        self.organization_id, self.project_id = made.organization_id, made.project_id or ""
        self.api_key, self.admin_key = made.api_key or "", made.admin_key or ""

    def start(self) -> None:
        self.start_org_service()
        self.start_analytics()
        self.start_worker()
        for index in range(len(self.router_ports)):
            self.start_router(index)

    def start_router(self, index: int) -> None:
        spool = self.directory / f"spool-{index}"
        spool.mkdir(exist_ok=True)
        settings = {
            "REDIS_URL": self.servers.redis_url, "AMQP_URL": self.servers.amqp_url, "SERVICE_TOKEN": TOKEN,
            "ORG_SERVICE_URL": self.org_url, "ANALYTICS_URL": self.analytics_url, "SPOOL_DIRECTORY": str(spool),
            "DRAIN_SECONDS": "0", "REPORT_USE_SECONDS": "0.5", "LISTEN_PORT": str(self.router_ports[index]),
            **self.router_settings.get(index, {}),
        }  # fmt: skip
        self._spawn(f"router-{index}", ["router"], "TERN_ROUTER_", settings, self.router_ports[index], "/ready")

    def start_org_service(self) -> None:
        settings = {
            "DATABASE_URL": self.servers.database_url("org"), "REDIS_URL": self.servers.redis_url,
            "SERVICE_TOKEN": TOKEN, "LISTEN_PORT": str(self.org_port), "LAST_USE_SECONDS": "0.5",
        }  # fmt: skip
        self._spawn("org_service", ["org_service", "serve"], "TERN_ORG_", settings, self.org_port, "/health")

    def start_analytics(self) -> None:
        settings = self._analytics_settings() | {"LISTEN_PORT": str(self.analytics_port)}
        argv = ["analytics", "serve"]
        self._spawn("analytics", argv, "TERN_ANALYTICS_", settings, self.analytics_port, "/health")

    def start_worker(self) -> None:
        settings = self._analytics_settings() | {
            "AMQP_URL": self.servers.amqp_url, "WORKER_LISTEN_PORT": str(self.worker_port)
        }  # fmt: skip
        self._spawn("worker", ["analytics", "worker"], "TERN_ANALYTICS_", settings, self.worker_port, None)

    def kill(self, name: str) -> None:
        """SIGKILL to the process and its group."""
        self.processes[name].kill()

    def stop(self) -> None:
        for process in reversed(self.processes.values()):
            process.stop(grace_seconds=15)

    def ledger_spent_nano_usd(self) -> int:
        """What the organization has spent by the ledger, over all time."""
        with redis.Redis(port=self.servers.redis_port, decode_responses=True) as client:
            keys = list(client.scan_iter(f"tern:*:level:{self.organization_id}:organization:*", count=10_000))
            return sum(int(client.hget(key, "all:spent") or 0) for key in keys)  # type: ignore[arg-type]

    def ledger_open(self) -> dict[str, int]:
        """Calls still reserved, entries still in an outbox, slots still taken: all zero at rest."""
        with redis.Redis(port=self.servers.redis_port, decode_responses=True) as client:
            levels = [client.hgetall(key) for key in client.scan_iter("tern:*:level:*", count=10_000)]
            return {
                "reserved": sum(client.zcard(key) for key in client.scan_iter("tern:*:deadlines")),  # type: ignore[misc]
                "outbox": sum(client.xlen(key) for key in client.scan_iter("tern:*:outbox")),  # type: ignore[misc]
                "slots": sum(int(level.get("slots", 0)) for level in levels),  # type: ignore[union-attr]
                "held": sum(
                    int(level.get("all:held", 0)) - int(level.get("all:spent", 0))  # type: ignore[union-attr]
                    for level in levels
                ),
            }

    def analytics_rows(self, question: str = "count(*), coalesce(sum(cost_nano_usd), 0)") -> tuple[Any, ...]:
        with psycopg.connect(self.servers.database_url("analytics")) as connection:
            row = connection.execute(f"SELECT {question} FROM usage_events").fetchone()  # type: ignore[arg-type]
        assert row is not None
        return tuple(row)

    def spend(self) -> dict[str, Any]:
        """What analytics answers to a router that rebuilds its counters."""
        headers = {"authorization": f"Bearer {TOKEN}"}
        parameters = {"organization_id": self.organization_id}
        reply = httpx2.get(f"{self.analytics_url}{SPEND_PATH}", params=parameters, headers=headers)
        answer: dict[str, Any] = reply.raise_for_status().json()
        return answer

    def _analytics_settings(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self.servers.database_url("analytics"), "SERVICE_TOKEN": TOKEN,
            "ORG_SERVICE_URL": self.org_url, "ORG_SERVICE_TOKEN": TOKEN, "RETRY_MAX_SECONDS": "2",
        }  # fmt: skip

    def _spawn(
        self,
        name: str,
        argv: Sequence[str],
        prefix: str,
        settings: Mapping[str, str],
        port: int,
        ready: str | None,
    ) -> None:
        environment = {
            variable: value for variable, value in os.environ.items() if not variable.startswith("TERN_")
        }
        environment |= {prefix + setting: value for setting, value in settings.items()}
        command = [sys.executable, "-m", *argv]
        part = spawn(name, command, self.directory, env=environment, run_in=ROOT)
        self.processes[name] = part
        url = f"http://127.0.0.1:{port}{ready}"
        part.wait_ready(lambda: accepts_connections(port) if ready is None else _answers(url), 60)


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=5).status_code == 200
    except httpx2.HTTPError:
        return False


def catalog_for(models: Sequence[str], upstream_urls: Sequence[str]) -> Catalog:
    """Every model on every upstream, at `PRICE`."""
    upstreams = [
        Upstream(
            id=f"up-{index}-{place}",
            model_id=name,
            base_url=f"{url}/v1",
            model_name=name,
            capabilities=Capabilities(continuous_usage=True),
        )
        for place, name in enumerate(models)
        for index, url in enumerate(upstream_urls)
    ]
    made = [
        Model(id=name, created_at=LONG_AGO, prices=(PRICE,), context_window_tokens=100_000, max_output_tokens=4096)
        for name in models
    ]
    return Catalog(models=tuple(made), upstreams=tuple(upstreams))


@contextmanager
def running_servers() -> Iterator[Servers]:
    with folder("e2e") as directory, ExitStack() as stack:
        directory.chmod(0o755)
        servers = Servers(directory)
        stack.callback(servers.stop)
        servers.start()
        yield servers

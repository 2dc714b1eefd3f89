"""The servers that Tern leans on, private to the run: PostgreSQL, Redis with its append-only file, RabbitMQ."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from analytics.migrate import migrate as migrate_analytics
from benchmarks.process import ContenderError
from org_service.migrate import migrate as migrate_org_service
from tern.stack.process import Part, PartError, free_port
from tests.parts.servers import MissingPartError, folder, start_postgres, start_rabbitmq, start_redis


@dataclass(frozen=True)
class Parts:
    """Addresses, and the processes whose CPU time is shown."""

    org_database: str
    analytics_database: str
    redis: str
    amqp: str
    pids: dict[str, int]


@contextmanager
def start_parts(logs: Path) -> Iterator[Parts]:
    """Their own logs stay in `logs`. Raises ContenderError where a server is missing or does not start."""
    with ExitStack() as stack:
        try:
            postgres, postgres_port = hold("postgres", start_postgres, logs, stack)
            redis, redis_port = hold("redis", keeping_redis, logs, stack)
            rabbitmq, rabbitmq_port = hold("rabbitmq", start_rabbitmq, logs, stack)
        except (MissingPartError, PartError) as error:
            raise ContenderError(str(error).partition("\n")[0]) from error
        yield Parts(
            org_database=new_database(postgres_port, "org_service"),
            analytics_database=new_database(postgres_port, "analytics"),
            redis=f"redis://127.0.0.1:{redis_port}/0",
            amqp=f"amqp://guest:guest@127.0.0.1:{rabbitmq_port}/",
            pids={"redis": redis.process.pid, "rabbitmq": rabbitmq.process.pid, "postgres": postgres.process.pid},
        )


def hold(name: str, start: Callable[[Path, int], Part], logs: Path, stack: ExitStack) -> tuple[Part, int]:
    directory, port = stack.enter_context(folder(f"bench-{name}")), free_port()
    part = start(directory, port)
    stack.callback(shutil.copy, part.log_path, logs / f"tern-{name}.log")
    stack.callback(part.stop, 20)
    return part, port


def keeping_redis(directory: Path, port: int) -> Part:
    return start_redis(directory, port, append_only=True)


def new_database(port: int, name: str) -> str:
    server = f"postgresql://postgres@127.0.0.1:{port}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return f"{server}/{name}"


async def migrate(parts: Parts) -> None:
    await migrate_org_service(parts.org_database)
    migrate_analytics(parts.analytics_database)

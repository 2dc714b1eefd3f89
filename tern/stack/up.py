"""`tern up`: start the parts, the services and the worker; say what to paste; stop all of it on Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx2
import uvicorn
from rich.console import Console
from starlette.types import ASGIApp

from contracts.log_line import log_to
from org_service.bootstrap import Plan
from router.guarded_protocol import GuardedProtocol
from tern.stack.backends import Backend, discover, start_demo_backends
from tern.stack.catalog import catalog_of
from tern.stack.home import Home, open_home
from tern.stack.postgres import Postgres, start_postgres
from tern.stack.process import READY_POLL_SECONDS, PartError
from tern.stack.services import Wiring, build, prepare
from tern.stack.valkey import Valkey, start_valkey
from tern.stack.welcome import read_env, welcome, write_env

DEMO_REPLICAS: Final = 2
GRACE_SECONDS: Final = 10


@dataclass(frozen=True, slots=True)
class Options:
    """`backends` are base URLs of the user's own servers; none means the demo backend."""

    home_path: Path
    port: int
    backends: tuple[str, ...] = ()


def up(options: Options, console: Console) -> int:
    """Run until stopped; the exit status. Every failure to start is one sentence."""
    started_at = time.monotonic()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with open_home(options.home_path) as home, ExitStack() as parts, _listener(options.port) as listener:
            return _run(options, home, parts, listener, console, started_at)
    except PartError as error:
        console.print(f"[bold red]Tern did not start.[/] {error}", highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 0


def _run(
    options: Options, home: Home, parts: ExitStack, listener: socket.socket, console: Console, started_at: float
) -> int:
    base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    secrets = home.secrets()
    with console.status("Starting PostgreSQL, Valkey and the backends ...") as status:
        postgres, valkey, backends = _start_parts(options, home, parts, secrets)
        status.update("Preparing the databases ...")
        wiring = Wiring(
            home,
            base_url,
            org_database_url=postgres.url("org"),
            analytics_database_url=postgres.url("analytics"),
            redis_url=valkey.url,
            service_token=secrets["service_token"],
        )
        _install(wiring, backends)
        status.update("Starting the gateway ...")
        log = parts.enter_context((home.log_directory / "gateway.log").open("a", buffering=1))
        log_to(log, "tern")  # the terminal belongs to the user

        def on_ready() -> None:
            status.stop()
            welcome(console, home, f"{base_url}/v1", backends[0].model_name, time.monotonic() - started_at)

        server = _Server(build(wiring, log), base_url, on_ready)
        server.run(sockets=[listener])
    if not server.started:
        raise PartError(f"The gateway stopped while starting; {home.log_directory / 'gateway.log'} says why.")
    return 0


class _Server(uvicorn.Server):
    """uvicorn that tells when calls are answered, which is a moment after it listens: the router asks for its
    catalog through the same port."""

    def __init__(self, app: ASGIApp, base_url: str, on_ready: Callable[[], None]) -> None:
        config = uvicorn.Config(
            app, loop="uvloop", http=GuardedProtocol, ws="none", lifespan="on", log_config=None, access_log=False,
            server_header=False, timeout_graceful_shutdown=GRACE_SECONDS,
        )  # fmt: skip
        super().__init__(config)
        self._base_url, self._on_ready = base_url, on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._telling = asyncio.create_task(self._tell_when_ready())

    async def _tell_when_ready(self) -> None:
        async with httpx2.AsyncClient(base_url=self._base_url) as client:
            while not await _is_ready(client):  # noqa: ASYNC110 - answers have no event
                await asyncio.sleep(READY_POLL_SECONDS)
        self._on_ready()


async def _is_ready(client: httpx2.AsyncClient) -> bool:
    try:
        return (await client.get("/ready")).status_code == 200
    except httpx2.HTTPError:
        return False


def _start_parts(
    options: Options, home: Home, parts: ExitStack, secrets: dict[str, str]
) -> tuple[Postgres, Valkey, list[Backend]]:
    """All at once: the slowest decides how long a start takes. The threads stay: children stop with theirs."""
    pool = parts.enter_context(ThreadPoolExecutor())
    postgres = pool.submit(start_postgres, home, secrets["postgres_password"])
    valkey = pool.submit(start_valkey, home, secrets["valkey_password"])
    backends = pool.submit(_backends, options, home, parts)
    errors = [future.exception() for future in (postgres, valkey, backends)]
    for future in (postgres, valkey):
        if future.exception() is None:
            parts.callback(future.result().part.stop)
    for error in errors:
        if error is not None:
            raise error
    return postgres.result(), valkey.result(), backends.result()


def _backends(options: Options, home: Home, parts: ExitStack) -> list[Backend]:
    if options.backends:
        return [backend for url in options.backends for backend in discover(url)]
    processes, backends = start_demo_backends(home, DEMO_REPLICAS)
    for part in processes:
        parts.callback(part.stop)
    return backends


def _install(wiring: Wiring, backends: list[Backend]) -> None:
    """Migrate, bring the catalog about, and write the keys down where this start made them."""
    known = read_env(wiring.home)
    is_known = {"OPENAI_API_KEY", "OPENAI_ADMIN_KEY"} <= known.keys()
    plan = Plan(catalog=catalog_of(backends), exclusive_upstreams=True, fresh_keys=not is_known)
    made = asyncio.run(prepare(wiring, plan))
    api_key = made.api_key or known["OPENAI_API_KEY"]
    admin_key = made.admin_key or known["OPENAI_ADMIN_KEY"]
    write_env(wiring.home, f"{wiring.base_url}/v1", api_key, admin_key)


@contextmanager
def _listener(port: int) -> Iterator[socket.socket]:
    """The public port, taken before anything is started, so that a taken one is known at once."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            raise PartError(
                f"Port {port} is taken ({error.strerror}); choose another: TERN_PORT={port + 1} make run"
            ) from error
        yield listener


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt

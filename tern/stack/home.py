"""Where the local stack keeps its state: `.tern/` beside the checkout, readable by its owner alone."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tern.stack.process import PartError

ROOT_STATE = Path("/var/lib/tern")
SECRET_NAMES = ("postgres_password", "valkey_password", "service_token", "page_key")


@dataclass(frozen=True, slots=True)
class Home:
    """The state folder and the names of what lies in it."""

    path: Path

    @property
    def checkout(self) -> Path:
        """Where this Tern is installed from: children import the same code."""
        return Path(__file__).parents[2]

    @property
    def env_path(self) -> Path:
        return self.path / "env"

    @property
    def log_directory(self) -> Path:
        return self.path / "log"

    @property
    def valkey_directory(self) -> Path:
        return self.path / "valkey"

    @property
    def spool_directory(self) -> Path:
        return self.path / "spool"

    @property
    def postgres_directory(self) -> Path:
        """PostgreSQL refuses to run as root, and its user may not be able to enter root's folders: as root its
        binaries and data live under /var/lib/tern, in a folder of this home's own."""
        if os.geteuid() != 0:
            return self.path / "postgres"
        identity = hashlib.sha256(str(self.path).encode()).hexdigest()[:12]
        return ROOT_STATE / identity

    def secrets(self) -> dict[str, str]:
        """The passwords and tokens between the parts, made at the first start."""
        path = self.path / "secrets.json"
        known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        missing = [name for name in SECRET_NAMES if name not in known]
        if missing:
            known |= {name: secrets.token_urlsafe(32) for name in missing}
            write_private(path, json.dumps(known, indent=1))
        return known


@contextmanager
def open_home(path: Path) -> Iterator[Home]:
    """Make the folders and hold the lock, so that two stacks never share one state; raises PartError."""
    home = Home(path.resolve())
    try:
        for directory in (home.path, home.log_directory, home.valkey_directory, home.spool_directory):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (home.path / "lock").open("a+")
    except OSError as error:
        raise PartError(f"Tern cannot keep its state in {home.path}: {error.strerror}.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PartError(f"Tern is already running with the state in {home.path}; stop it first.") from None
        yield home


def write_private(path: Path, text: str) -> None:
    """Replace `path` atomically; only its owner may read it."""
    beside = path.with_name(path.name + ".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, 0o600)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    beside.replace(path)

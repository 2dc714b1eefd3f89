"""`tern up --backend` in front of a server: the whole product, from its own environment, as a child process."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from tern.stack.home import Home
from tern.stack.process import free_port, spawn
from tern.stack.welcome import read_env

ROOT = Path(__file__).parents[2]
START_SECONDS = 120


@dataclass(frozen=True)
class Gateway:
    base_url: str
    api_key: str


@contextmanager
def tern_in_front_of(backend_url: str) -> Iterator[Gateway]:
    """The gateway with embedded PostgreSQL and Valkey, and one upstream: the server at `backend_url`."""
    port = free_port()
    with TemporaryDirectory(prefix="tern-") as directory:
        home = Home(Path(directory) / "home")
        command = [ROOT / ".venv" / "bin" / "python", "-m", "tern", "up", "--home", home.path, "--port", str(port)]
        command += ["--backend", f"{backend_url}/v1"]
        part = spawn("tern", command, Path(directory), run_in=ROOT)
        part.wait_ready(lambda: _is_ready(home, port), START_SECONDS)
        try:
            known = read_env(home)
            yield Gateway(known["OPENAI_BASE_URL"], known["OPENAI_API_KEY"])
        finally:
            part.stop(grace_seconds=30)
            shutil.rmtree(home.postgres_directory, ignore_errors=True)


def _is_ready(home: Home, port: int) -> bool:
    try:
        return home.env_path.exists() and httpx.get(f"http://127.0.0.1:{port}/ready").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False

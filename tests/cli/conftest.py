"""`tern up` as a person starts it, once for all commands, and a way to type commands at it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from tern.cli import app
from tern.stack.home import Home
from tern.stack.process import free_port, spawn
from tests.parts.servers import folder

ROOT = Path(__file__).parents[2]


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("TERN_", "OPENAI_"))}


@pytest.fixture(scope="session")
def gateway_environment() -> Iterator[dict[str, str]]:
    """The three variables of a running `tern up`, from the file that it wrote."""
    with folder("cli") as directory:
        home, port = directory / "home", free_port()
        argv = [sys.executable, "-m", "tern", "up", "--port", str(port), "--home", str(home)]
        part = spawn("tern-up", argv, directory, env=clean_environment(), run_in=ROOT)
        part.wait_ready(lambda: _is_ready(f"http://127.0.0.1:{port}/ready"), 120)
        pairs = (line.partition("=") for line in (home / "env").read_text().splitlines())
        yield {name: value for name, _, value in pairs}
        part.stop(grace_seconds=30)
        shutil.rmtree(Home(home.resolve()).postgres_directory, ignore_errors=True)


def _is_ready(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=5).status_code == 200
    except httpx2.HTTPError:
        return False


Tern = Callable[..., Any]


@pytest.fixture
def tern(gateway_environment: dict[str, str]) -> Tern:
    """Type a command; `fails` is the exit code that is expected."""

    def run(*words: str, fails: int = 0, stdin: str = "", **environment: str) -> Any:
        result = CliRunner().invoke(app, words, input=stdin, env=gateway_environment | environment)
        assert result.exit_code == fails, result.output
        return result

    return run

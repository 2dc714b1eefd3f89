"""Child processes of a run: pinned to a core, logged to a file, waited for, stopped by the pid that we started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

STOP_SECONDS = 10.0


class ContenderError(Exception):
    """A contender cannot take part; the text is the reason that the table shows."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pinned(argv: Sequence[str | Path], core: int) -> list[str]:
    """The command, kept on one core with every thread and child it will have."""
    return ["taskset", "-c", str(core), *map(str, argv)]


def plain_environment() -> dict[str, str]:
    """Only what a program needs to be found; no settings of the caller's shell reach a contender."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"}


@contextmanager
def running(
    argv: Sequence[str], log: Path, env: Mapping[str, str], cwd: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process group of its own and stop all of it on the way out."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as sink:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT,
            env=dict(env), cwd=cwd, process_group=0,
        )  # fmt: skip
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float) -> None:
    """Raises ContenderError when the process ends first or is not ready in time."""
    deadline = time.monotonic() + seconds
    while not ready():
        if (code := process.poll()) is not None:
            raise ContenderError(f"ended with code {code} while starting")
        if time.monotonic() > deadline:
            raise ContenderError(f"not ready after {seconds:.0f} s")
        time.sleep(0.1)


def accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False

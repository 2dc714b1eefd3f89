"""The processes of a run: pinned to a core, and a fault of any of them is the reason that the table shows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tern.stack.process import Part, PartError, accepts_connections, spawn


class ContenderError(Exception):
    """A contender cannot take part; the text is the reason that the table shows."""


def pinned(argv: Sequence[str | Path], core: int) -> list[str]:
    """The command, kept on one core with every thread and child it will have."""
    return ["taskset", "-c", str(core), *map(str, argv)]


def plain_environment() -> dict[str, str]:
    """Only what a program needs to be found; no settings of the caller's shell reach a contender."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"}


@contextmanager
def listening(
    name: str,
    argv: Sequence[str | Path],
    port: int,
    logs: Path,
    env: Mapping[str, str],
    run_in: Path,
    start_seconds: float = 90.0,
) -> Iterator[Part]:
    """A child that listens on `port`, stopped on the way out; raises ContenderError if it does not come so far."""
    logs.mkdir(parents=True, exist_ok=True)
    (logs / f"{name}.log").unlink(missing_ok=True)
    part = spawn(name, argv, logs, env={**plain_environment(), **env}, run_in=run_in)
    try:
        part.wait_ready(lambda: accepts_connections(port), start_seconds)
    except PartError as error:
        raise ContenderError(str(error).partition("\n")[0]) from error
    try:
        yield part
    finally:
        with suppress(ProcessLookupError):
            part.stop()

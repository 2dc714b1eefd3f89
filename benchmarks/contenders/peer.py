"""The shape that all peers share: one command that listens on a port and is ready once it relays a real call."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.contenders.contract import Site, Standing
from benchmarks.load import Target
from benchmarks.process import accepts, pinned, plain_environment, running, wait_until

START_SECONDS = 90.0


@contextmanager
def standing_peer(
    name: str, argv: Sequence[str | Path], port: int, target: Target, site: Site, env: Mapping[str, str]
) -> Iterator[Standing]:
    """Run the command on the gateway's core until the block ends."""
    command = pinned(argv, site.gateway_core)
    with running(command, site.log(name), {**plain_environment(), **env}, cwd=site.work) as process:
        wait_for_port(process, port)
        yield Standing(target, process.pid)


def wait_for_port(process: subprocess.Popen[bytes], port: int) -> None:
    wait_until(lambda: accepts(port), process, START_SECONDS)

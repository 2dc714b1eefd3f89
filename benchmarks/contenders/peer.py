"""The shape that all peers share: one command on the gateway's core that listens on a port."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.contenders.contract import Site, Standing
from benchmarks.load import Target
from benchmarks.process import listening, pinned


@contextmanager
def standing_peer(
    name: str, argv: Sequence[str | Path], port: int, target: Target, site: Site, env: Mapping[str, str]
) -> Iterator[Standing]:
    """Run the command until the block ends."""
    command = pinned(argv, site.gateway_core)
    with listening(name, command, port, site.logs, env, run_in=site.work) as part:
        yield Standing(target, part.process.pid)

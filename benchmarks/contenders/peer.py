"""What all peers share: a pinned version, and one command on the gateway's core that listens on a port."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders.contract import Site, Standing
from benchmarks.contenders.environment import install_from_pip, pinned_version
from benchmarks.load import Target
from benchmarks.process import listening, pinned


@dataclass(frozen=True)
class Peer:
    """Comes from pip at its pinned version; one that comes from elsewhere says so."""

    name: str

    @property
    def version(self) -> str:
        return pinned_version(self.name)

    def install(self, home: Path) -> None:
        install_from_pip(self.name, home)


@contextmanager
def standing_peer(
    name: str, argv: Sequence[str | Path], port: int, target: Target, site: Site, env: Mapping[str, str]
) -> Iterator[Standing]:
    """Run the command until the block ends."""
    command = pinned(argv, site.gateway_core)
    with listening(name, command, port, site.logs, env, run_in=site.work) as part:
        yield Standing(target, part.process.pid)

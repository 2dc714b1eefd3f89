"""No gateway: the load generator talks to the model server. What others add is measured against this."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders.contract import Site, Standing
from benchmarks.load import Target
from benchmarks.upstream import MODEL


@dataclass(frozen=True)
class Direct:
    name: str = "direct"
    version: str = "-"

    def install(self, home: Path) -> None:
        """Nothing to install."""

    @contextmanager
    def start(self, site: Site) -> Iterator[Standing]:
        yield Standing(Target(f"{site.upstream_url}/v1", MODEL), None)

"""What every contender is to the harness: something that can be installed, then held running for a while."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchmarks.load import Target


@dataclass(frozen=True)
class Site:
    """Where a contender runs. `upstream_url` is the model server's origin, without /v1."""

    gateway_core: int
    parts_core: int
    upstream_url: str
    work: Path

    @property
    def logs(self) -> Path:
        return self.work / "logs"


@dataclass(frozen=True)
class Standing:
    """A contender that takes requests. `pid` roots its process tree; `parts` are servers it leans on, by name."""

    target: Target
    pid: int | None
    parts: Mapping[str, int] = field(default_factory=dict)


class Contender(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    def install(self, home: Path) -> None:
        """Put it under `home` unless it is there; raises ContenderError."""

    def start(self, site: Site) -> AbstractContextManager[Standing]:
        """Hold it running, ready for requests; raises ContenderError."""

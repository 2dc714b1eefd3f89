"""The ledger's Lua steps, loaded from `lua/`: `levels.lua` followed by the step's own file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from importlib.resources import files
from typing import Final

RECORD_VERSION: Final = 1
"""Written into every reservation's record. A step refuses a record of another version, so during a rolling deploy
each version ends the calls that it began."""
STEPS: Final = ("reserve", "extend", "settle", "release", "reap", "restore")


@dataclass(frozen=True, slots=True)
class Script:
    name: str
    source: str
    digest: str

    @classmethod
    def of(cls, name: str, source: str) -> Script:
        return cls(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


@dataclass(frozen=True, slots=True)
class LedgerScripts:
    reserve: Script
    extend: Script
    settle: Script
    release: Script
    reap: Script
    restore: Script
    overdue: Script
    rebuild: Script

    @classmethod
    def load(cls) -> LedgerScripts:
        """Raises ValueError where a file's version line disagrees with RECORD_VERSION."""
        levels = _read("levels")
        steps = {name: levels + _read(name) for name in STEPS}
        scripts = {name: Script.of(name, source) for name, source in steps.items()}
        return cls(**scripts, **{name: Script.of(name, _read(name)) for name in ("overdue", "rebuild")})

    def all(self) -> tuple[Script, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))


def _read(name: str) -> str:
    source = (files("router.ledger") / "lua" / f"{name}.lua").read_text()
    if not source.startswith(f"-- Tern ledger, record version {RECORD_VERSION}\n"):
        raise ValueError(f"lua/{name}.lua is not of record version {RECORD_VERSION}")
    return source

"""Where the gateway is and which keys to show it: the environment first, then the nearest `.tern/env`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tern.cli.problems import NotConfiguredError

NAMES: Final = ("OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_ADMIN_KEY")
HOW: Final = "Start Tern with `tern up` (it writes .tern/env), or set the variable."


@dataclass(frozen=True, slots=True)
class Environment:
    """`source` is the `.tern/env` that was read, if any. Variables that are set win over it."""

    values: Mapping[str, str]
    source: Path | None

    @property
    def base_url(self) -> str:
        return self._value("OPENAI_BASE_URL").rstrip("/")

    @property
    def api_key(self) -> str:
        return self._value("OPENAI_API_KEY")

    @property
    def admin_key(self) -> str:
        return self._value("OPENAI_ADMIN_KEY")

    def _value(self, name: str) -> str:
        if not self.values.get(name):
            raise NotConfiguredError(f"{name} is not known. {HOW}")
        return self.values[name]


def read_environment(environ: Mapping[str, str], directory: Path) -> Environment:
    """The names that matter, from `environ` and from the `.tern/env` of `directory` or the nearest parent."""
    source = next((path for path in _candidates(directory) if path.is_file()), None)
    written = _read(source) if source is not None else {}
    given = {name: environ[name] for name in NAMES if environ.get(name)}
    return Environment(written | given, source)


def _candidates(directory: Path) -> list[Path]:
    return [folder / ".tern" / "env" for folder in (directory, *directory.parents)]


def _read(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise NotConfiguredError(f"{path} cannot be read: {error.strerror}.") from error
    pairs = (line.partition("=") for line in lines)
    return {name: value.strip() for name, _, value in pairs if name in NAMES}

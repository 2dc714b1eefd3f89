"""Installs a pinned peer into an ignored folder of its own, so that its dependencies meet nobody else's.

The pins are plain files under `benchmarks/peers/`: `NAME.txt` is a requirements file, `NAME.json` a package.json.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from benchmarks.process import ContenderError

PINS = Path(__file__).parents[1] / "peers"
INSTALL_SECONDS = 900.0
VERSION = re.compile(r'^[a-z].*==(\S+)$|"@?[\w/-]+": "(\d[\d.]*)"', re.MULTILINE)


def pinned_version(name: str) -> str:
    """The version of the first package that the peer's pins file names."""
    for pins in PINS.glob(f"{name}.*"):
        if found := VERSION.search(pins.read_text()):
            return found[1] or found[2]
    raise ContenderError(f"{name} is not pinned")


def install_from_pip(name: str, home: Path) -> None:
    pins, folder = PINS / f"{name}.txt", home / name
    if is_installed(folder, pins):
        return
    run([sys.executable, "-m", "venv", "--clear", folder], folder)
    run([folder / "bin/pip", "install", "--disable-pip-version-check", "-r", pins], folder)
    mark_installed(folder, pins)


def install_from_npm(name: str, home: Path) -> None:
    pins, folder = PINS / f"{name}.json", home / name
    if is_installed(folder, pins):
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text(pins.read_text())
    run(["npm", "install", "--no-audit", "--no-fund", "--prefix", folder], folder)
    mark_installed(folder, pins)


def is_installed(folder: Path, pins: Path) -> bool:
    mark = folder / "installed"
    return mark.exists() and mark.read_text() == pins.read_text()


def mark_installed(folder: Path, pins: Path) -> None:
    (folder / "installed").write_text(pins.read_text())


def run(argv: list[str | Path], folder: Path) -> None:
    """The tool's own words go to a log beside the folder, not into a report: they may name private addresses."""
    log = folder.parent / "logs" / f"install-{folder.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with log.open("ab") as sink:
            subprocess.run(list(map(str, argv)), stdout=sink, stderr=sink, check=True, timeout=INSTALL_SECONDS)
    except FileNotFoundError:
        raise ContenderError(f"{argv[0]} is not on this machine") from None
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as failure:
        raise ContenderError(f"could not be installed ({type(failure).__name__}), see {log.name}") from failure

"""What is said is tested: reference pages equal the code, links lead somewhere, commands exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from router.settings import Settings

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\[[^\]]*\]\((?!https?:|#|mailto:)([^)#\s]+)(?:#[^)]*)?\)")
STOPS = ("receive", "authenticate", "admit", "choose", "relay", "settle", "publish", "record")


def pages() -> list[Path]:
    listed = subprocess.check_output(["git", "ls-files", "*.md"], cwd=ROOT, text=True)
    return [ROOT / name for name in listed.splitlines() if (ROOT / name).exists()]


def test_the_reference_pages_are_those_of_the_code() -> None:
    argv = [sys.executable, "scripts/write_reference.py", "--check"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, env={"PYTHONPATH": "."})
    assert done.returncode == 0, done.stderr


def test_every_setting_says_what_it_means() -> None:
    rows = (ROOT / "docs" / "configuration.md").read_text().splitlines()
    assert not [row for row in rows if re.match(r"\| `TERN_", row) and row.endswith("|  |")]
    assert len([row for row in rows if "`TERN_ROUTER_" in row]) >= len(Settings.model_fields)


def test_every_stop_has_an_anchor_in_the_walk() -> None:
    walk = (ROOT / "docs" / "walk.md").read_text()
    assert [stop for stop in STOPS if f"## {stop}" not in walk] == []


def test_links_lead_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages()
        for target in LINK.findall(page.read_text())
        if not (page.parent / target).exists()
    ]
    assert not broken


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        name for page in pages() for name in re.findall(r"`make ([a-z-]+)", page.read_text()) if name != "targets"
    }
    assert named <= targets


def test_every_decision_fits_its_page() -> None:
    assert not [path for path in (ROOT / "docs" / "adr").glob("*.md") if len(path.read_text().splitlines()) > 60]


def test_the_changelog_names_this_version() -> None:
    version = re.search(r'^version = "([^"]+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert f"## {version[1]}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("command", ["up", "keys", "projects", "limits", "models", "usage", "chat", "doctor"])
def test_the_readme_names_every_command(command: str) -> None:
    assert f"tern {command}" in (ROOT / "README.md").read_text()

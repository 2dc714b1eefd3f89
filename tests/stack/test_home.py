from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tern.stack.home import open_home, write_private
from tern.stack.process import PartError


def test_two_stacks_never_share_a_state(tmp_path: Path) -> None:
    first, second = open_home(tmp_path / "state"), open_home(tmp_path / "state")
    with first, pytest.raises(PartError, match="already running"), second:
        pass
    with open_home(tmp_path / "state"):
        pass


def test_secrets_survive_a_restart_and_are_private(tmp_path: Path) -> None:
    with open_home(tmp_path) as home:
        first = home.secrets()
    with open_home(tmp_path) as home:
        assert home.secrets() == first
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600
    assert len(set(first.values())) == len(first)


def test_a_private_file_stays_private_when_it_replaces_a_public_one(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o600)


def test_a_state_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PartError, match="cannot keep its state"), open_home(tmp_path / "file" / "state"):
        pass

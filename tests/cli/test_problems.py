"""What cannot work says so in one sentence, with an exit code that a script can tell apart."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from contracts.api_key import KeyKind, generate
from tern.cli import app
from tern.cli.amounts import cents, rate, seconds, usd_of_nano
from tern.cli.environment import read_environment
from tern.cli.plot import bar, bars
from tern.cli.problems import NotConfiguredError, WrongUseError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (("keys", "create", "x", "--expires", "soon"), 2, "no duration"),
        (("keys", "create", "x", "--spend", "much"), 2, "no amount"),
        (("keys", "create", "x", "--spend", "0.001"), 2, "whole cents"),
        (("keys", "revoke", "key_missing"), 1, "tern keys list"),
        (("keys", "list", "--project", "nowhere"), 1, "tern projects"),
        (("limits", "set"), 2, "Say what to set"),
        (("limits", "show", "--key", "a", "--user", "b"), 2, "one of"),
        (("limits", "show", "--user", "user_missing"), 1, "Error:"),
        (("models", "price", "missing", "--input", "1", "--output", "1"), 1, "missing"),
        (("chat", "hi", "--model", "missing"), 1, "model_not_found"),
    ],
)
def test_what_the_gateway_or_we_refuse_is_one_sentence(
    tern: Any, words: tuple[str, ...], code: int, part: str
) -> None:
    result = tern(*words, fails=code)
    assert part in result.stderr
    assert "Traceback" not in result.output


def test_a_refused_key_has_an_exit_code_of_its_own(tern: Any) -> None:
    result = tern("projects", fails=4, OPENAI_ADMIN_KEY=generate(KeyKind.ADMIN))
    assert "invalid_api_key" in result.stderr


def test_nobody_at_the_address_has_an_exit_code_of_its_own() -> None:
    environment = {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "OPENAI_ADMIN_KEY": "x", "OPENAI_API_KEY": "x"}
    for words in (["projects"], ["models"], ["usage"], ["chat", "hi", "--model", "m"]):
        result = CliRunner().invoke(app, words, env=environment)
        assert (result.exit_code, "does not answer" in result.stderr) == (5, True)


def test_no_settings_at_all_have_an_exit_code_of_their_own(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "TERN_"))}
    environment["PYTHONPATH"] = str(ROOT)
    argv = [sys.executable, "-m", "tern", "projects"]
    result = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 3
    assert "OPENAI_BASE_URL is not known" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_nearest_file_is_read_and_variables_win(tmp_path: Path) -> None:
    (tmp_path / ".tern").mkdir()
    written = "OPENAI_BASE_URL=http://a/v1/\nOPENAI_API_KEY=from-file\nPATH=/evil\n"
    (tmp_path / ".tern" / "env").write_text(written)
    deep = tmp_path / "some" / "where"
    deep.mkdir(parents=True)
    environment = read_environment({"OPENAI_API_KEY": "from-variable", "OPENAI_ADMIN_KEY": ""}, deep)
    assert environment.base_url == "http://a/v1"
    assert environment.api_key == "from-variable"
    assert environment.source == tmp_path / ".tern" / "env"
    assert "PATH" not in environment.values
    with pytest.raises(NotConfiguredError):
        _ = environment.admin_key


def test_amounts_and_times_are_read_exactly_or_refused() -> None:
    assert (cents("12.50"), cents("$0.07"), cents("0")) == (1250, 7, 0)
    assert (rate("0.15"), rate("0.000000001")) == (150_000_000, 1)
    assert (seconds("90s"), seconds("12h"), seconds("2w")) == (90, 43_200, 1_209_600)
    for text in ("-1", "NaN", "Infinity", "1e400", "1,50", ""):
        with pytest.raises(WrongUseError):
            cents(text)
    for text in ("5", "h", "-1h", "1.5h", "1y"):
        with pytest.raises(WrongUseError):
            seconds(text)


def test_small_amounts_keep_their_places_and_large_ones_their_cents() -> None:
    assert usd_of_nano(25_400) == "$0.0000254"
    assert usd_of_nano(1_234_500_000_000) == "$1,234.50"
    assert usd_of_nano(0) == "$0.00"


def test_bars_share_a_scale_and_never_hide_a_small_value() -> None:
    assert bar(0, 100, 10) == ""
    assert bar(100, 100, 10) == "█" * 10
    assert bar(1, 10**9, 10) == "▏"
    assert bar(5, 0, 10) == ""
    lines = bars(["a", "bb"], [50, 100], 4)
    assert lines[0].startswith("a   ██  ")
    assert lines[1].endswith("████  100")

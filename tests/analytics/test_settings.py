"""Configuration: complete, strict about names, silent about secrets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMPLETE = {
    "TERN_ANALYTICS_DATABASE_URL": "postgresql://tern:hunter2@db/usage",
    "TERN_ANALYTICS_SERVICE_TOKEN": "hunter2",
    "TERN_ANALYTICS_ORG_SERVICE_URL": "http://org",
    "TERN_ANALYTICS_ORG_SERVICE_TOKEN": "hunter2",
    "TERN_ANALYTICS_AMQP_URL": "amqp://guest:hunter2@broker/",
}


def check_config(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TERN_")}
    argv = [sys.executable, "-m", "analytics", "--check-config"]
    return subprocess.run(argv, env=inherited | environment, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_complete_configuration_is_shown_without_its_secrets() -> None:
    checked = check_config(COMPLETE)
    assert checked.returncode == 0, checked.stderr
    assert "hunter2" not in checked.stdout
    assert '"org_service_url": "http://org"' in checked.stdout


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"TERN_ANALYTICS_DATABASE_ULR": "x"}, "TERN_ANALYTICS_DATABASE_ULR"),
        ({"TERN_ANALYTICS_LATE_DAYS": "-1"}, "late_days"),
        ({"TERN_ANALYTICS_REDIS_URL": "redis://r"}, "not both"),
    ],
)
def test_a_wrong_configuration_is_one_clear_sentence_and_exit_code_2(changes: dict[str, str], word: str) -> None:
    checked = check_config(COMPLETE | changes)
    assert checked.returncode == 2
    assert word in checked.stderr
    assert "Traceback" not in checked.stderr
    assert "hunter2" not in checked.stderr


def test_a_missing_address_is_named() -> None:
    without = {name: value for name, value in COMPLETE.items() if name != "TERN_ANALYTICS_DATABASE_URL"}
    checked = check_config(without)
    assert checked.returncode == 2
    assert "database_url" in checked.stderr

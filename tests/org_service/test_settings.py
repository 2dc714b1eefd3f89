"""Configuration: a typing error is an error, and nothing secret is shown."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from pydantic import SecretStr

from org_service.__main__ import main
from org_service.settings import Settings

GOOD = {
    "TERN_ORG_DATABASE_URL": "postgresql://user:canary-password@localhost/org",
    "TERN_ORG_REDIS_URL": "redis://localhost/0",
    "TERN_ORG_SERVICE_TOKEN": "canary-token-of-the-tests",
}


def test_secrets_have_no_default() -> None:
    required = {name for name, field in Settings.model_fields.items() if field.is_required()}
    assert required == {"database_url", "redis_url", "service_token"}
    assert {Settings.model_fields[name].annotation for name in required} == {SecretStr}


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_the_configuration_is_printed_without_secrets() -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TERN_ORG_")}
    argv = [sys.executable, "-m", "org_service", "--check-config"]
    checked = subprocess.run(argv, env=clean | GOOD, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert '"listen_port": 8081' in checked.stdout
    assert "canary" not in checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"TERN_ORG_SERVICE_TOKEN": "canary"}, "service_token"),
        ({"TERN_ORG_LISTEN_PORT": "canary"}, "listen_port"),
        ({"TERN_ORG_TPYO": "canary"}, "TERN_ORG_TPYO"),
    ],
)
def test_what_is_wrong_is_named_and_not_shown(
    changes: dict[str, str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--check-config"], GOOD | changes) == 2
    said = capsys.readouterr()
    assert named in said.err
    assert "canary" not in said.err + said.out


def test_what_is_missing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    given = {name: value for name, value in GOOD.items() if "TOKEN" not in name}
    assert main(["--check-config"], given) == 2
    assert "service_token" in capsys.readouterr().err

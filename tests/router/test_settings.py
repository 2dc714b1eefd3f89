"""Configuration: addresses and secrets must be given, and no secret is printed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from pydantic import ValidationError

from contracts.environment import ConfigurationError
from router.settings import load

NEEDED = {
    "TERN_ROUTER_REDIS_URL": "redis://:hidden@127.0.0.1/0",
    "TERN_ROUTER_ORG_SERVICE_URL": "http://org",
    "TERN_ROUTER_SERVICE_TOKEN": "hidden-token",
}


def test_addresses_and_secrets_have_no_defaults() -> None:
    for name in NEEDED:
        with pytest.raises(ConfigurationError, match=name.removeprefix("TERN_ROUTER_").lower()):
            load({other: value for other, value in NEEDED.items() if other != name})


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        load(NEEDED).listen_port = 1  # type: ignore[misc]


def test_the_configuration_is_printed_without_secrets() -> None:
    command = [sys.executable, "-m", "router", "--check-config"]
    printed = subprocess.run(command, env=NEEDED, capture_output=True, text=True, check=True)
    assert json.loads(printed.stdout)["org_service_url"] == "http://org"
    assert "hidden" not in printed.stdout + printed.stderr
    refused = subprocess.run(command, env={**NEEDED, "TERN_ROUTER_X": "1"}, capture_output=True, check=False)
    assert refused.returncode == 2

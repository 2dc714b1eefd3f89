"""A setting that is misspelt is an error; what Kubernetes injects is not ours; secrets are not printed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from pydantic import ValidationError

from router.settings import UnknownSettingError, load, redacted

NEEDED = {
    "TERN_ROUTER_REDIS_URL": "redis://:hidden@127.0.0.1/0",
    "TERN_ROUTER_ORG_SERVICE_URL": "http://org",
    "TERN_ROUTER_SERVICE_TOKEN": "hidden-token",
}


def test_addresses_and_secrets_have_no_defaults() -> None:
    for name in NEEDED:
        with pytest.raises(ValidationError):
            load({other: value for other, value in NEEDED.items() if other != name})


def test_a_misspelt_name_is_an_error() -> None:
    with pytest.raises(UnknownSettingError, match="TERN_ROUTER_REDIS_URI"):
        load({**NEEDED, "TERN_ROUTER_REDIS_URI": "redis://x"})


def test_what_kubernetes_injects_is_ignored() -> None:
    injected = {
        "TERN_ROUTER_SERVICE_HOST": "10.0.0.1",
        "TERN_ROUTER_SERVICE_PORT": "8080",
        "TERN_ROUTER_SERVICE_PORT_HTTP": "8080",
        "TERN_ROUTER_PORT": "tcp://10.0.0.1:8080",
        "TERN_ROUTER_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "TERN_ROUTER_PORT_8080_TCP_ADDR": "10.0.0.1",
        "TERN_ROUTER_METRICS_SERVICE_HOST": "10.0.0.1",
    }
    assert load({**NEEDED, **injected, "TERN_ROUTER_LISTEN_PORT": "9000"}).listen_port == 9000


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        load(NEEDED).listen_port = 1  # type: ignore[misc]


def test_the_configuration_is_printed_without_secrets() -> None:
    assert "hidden" not in json.dumps(redacted(load(NEEDED)))
    command = [sys.executable, "-m", "router", "--check-config"]
    printed = subprocess.run(command, env=NEEDED, capture_output=True, text=True, check=True)
    assert json.loads(printed.stdout)["org_service_url"] == "http://org"
    assert "hidden" not in printed.stdout + printed.stderr
    refused = subprocess.run(command, env={**NEEDED, "TERN_ROUTER_X": "1"}, capture_output=True, check=False)
    assert refused.returncode == 2

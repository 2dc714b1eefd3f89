"""Settings: a typing error is an error, what Kubernetes injects is none of ours, and no value is shown."""

from __future__ import annotations

import json

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr

import analytics.settings
import org_service.settings
import router.settings
from contracts.environment import ConfigurationError, load_settings, shown


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    secret: SecretStr = Field(min_length=8)
    listen_port: int = 80
    path: str | None = None


GOOD = {"TERN_X_SECRET": "canary-of-the-tests"}


def load(environ: dict[str, str]) -> Settings:
    return load_settings(Settings, "TERN_X_", GOOD | environ)


@pytest.mark.parametrize("name", ["TERN_X_SERCET", "TERN_X_LISTEM_PORT", "TERN_X_Y", "TERN_X_REPORT"])
def test_a_misspelt_name_is_an_error(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        load({name: "9000"})


def test_names_of_others_are_not_ours() -> None:
    assert load({"TERN_XY": "1", "PATH": "/bin"}).path is None


def test_names_may_be_written_small() -> None:
    assert load({"tern_x_listen_port": "81"}).listen_port == 81


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SERVICE_HOST", "10.0.0.1"),
        ("SERVICE_PORT", "8080"),
        ("SERVICE_PORT_HTTP", "8080"),
        ("PORT", "tcp://10.0.0.1:8080"),
        ("PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("PORT_8080_TCP_PORT", "8080"),
        ("METRICS_SERVICE_HOST", "10.0.0.1"),
        ("METRICS_PORT", "udp://10.0.0.1:53"),
    ],
)
def test_what_kubernetes_injects_is_ignored(name: str, value: str) -> None:
    assert load({f"TERN_X_{name}": value}).listen_port == 80


def test_an_empty_value_is_one_not_given() -> None:
    assert load({"TERN_X_LISTEN_PORT": "", "TERN_X_PATH": ""}) == load({})


def test_what_is_wrong_is_named_and_not_shown() -> None:
    with pytest.raises(ConfigurationError) as refused:
        load({"TERN_X_SECRET": "canary", "TERN_X_LISTEN_PORT": "canary"})
    assert "secret: " in str(refused.value)
    assert "listen_port: " in str(refused.value)
    assert "canary" not in str(refused.value)
    assert refused.value.__suppress_context__


def test_settings_are_shown_without_secrets() -> None:
    text = shown(load({"TERN_X_LISTEN_PORT": "9000"}))
    assert json.loads(text) == {"secret": "**********", "listen_port": 9000, "path": None}


@pytest.mark.parametrize("service", [analytics.settings, org_service.settings, router.settings])
def test_every_service_refuses_a_misspelt_name(service: object) -> None:
    prefix: str = service.PREFIX  # type: ignore[attr-defined]
    with pytest.raises(ConfigurationError, match=f"{prefix}TPYO"):
        service.load({f"{prefix}TPYO": "1"})  # type: ignore[attr-defined]

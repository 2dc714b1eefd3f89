"""Configuration of the org service: one frozen value, built once from TERN_ORG_* and passed down."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX: Final = "TERN_ORG_"
_INJECTED_BY_KUBERNETES: Final = re.compile(r"^TERN_ORG_(SERVICE_(HOST|PORT.*)|PORT(_.*)?)$")


class UnknownSettingError(ValueError):
    """A TERN_ORG_ name in the environment that is no setting: most likely a typing error."""


class Settings(BaseSettings):
    """Addresses and secrets have no default; limits and timeouts do."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    database_url: SecretStr = Field(description="PostgreSQL, as postgresql://user:password@host/database")
    redis_url: SecretStr = Field(description="Redis of the change feed; redis+cluster:// for a cluster")
    service_token: SecretStr = Field(min_length=16, description="what router and analytics present to /internal")
    listen_host: str = Field(default="127.0.0.1", description="address to listen on")
    listen_port: int = Field(default=8081, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    log_level: str = Field(
        default="info", pattern="^(debug|info|warning|error)$", description="least level logged"
    )
    pool_connections: int = Field(default=10, ge=4, description="most connections to PostgreSQL per process")
    connect_timeout_seconds: float = Field(default=3.0, gt=0, description="for a new connection to PostgreSQL")
    statement_timeout_seconds: float = Field(default=10.0, gt=0, description="longest statement in PostgreSQL")
    redis_timeout_seconds: float = Field(default=2.0, gt=0, description="for one command to Redis")
    max_body_bytes: int = Field(default=1 << 20, gt=0, description="longest request body")
    traces_endpoint: str | None = Field(default=None, description="OTLP over HTTP; without it nothing is traced")
    relay_poll_seconds: float = Field(default=0.5, gt=0, description="the outbox is read at least this often")
    change_feed_entries: int = Field(default=20_000, ge=100, description="about how many changes the feed keeps")


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the process's environment, or from the one given; an unknown TERN_ORG_ name raises
    UnknownSettingError."""
    environ = os.environ if environ is None else environ
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    ours = {name.upper() for name in environ if name.upper().startswith(PREFIX)} - known
    unknown = sorted(name for name in ours if not _INJECTED_BY_KUBERNETES.match(name))
    if unknown:
        raise UnknownSettingError(f"unknown settings: {', '.join(unknown)}")
    values = {name.removeprefix(PREFIX).lower(): value for name, value in environ.items() if name in known}
    return Settings(**values)  # type: ignore[arg-type]

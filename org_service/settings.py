"""Configuration of the org service: one frozen value, built once from TERN_ORG_* and passed down."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from contracts.environment import load_settings

PREFIX: Final = "TERN_ORG_"


class Settings(BaseSettings):
    """Addresses and secrets have no default; limits and timeouts do."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="forbid",
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

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
    last_use_seconds: float = Field(default=60.0, gt=0, description="how often admin keys' last uses are written")


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process, or of the environment given; raises ConfigurationError."""
    return load_settings(Settings, PREFIX, os.environ if environ is None else environ)

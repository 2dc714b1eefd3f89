"""Every setting of analytics, read once from the environment. Prefix TERN_ANALYTICS_."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from contracts.environment import load_settings

PREFIX: Final = "TERN_ANALYTICS_"


class Settings(BaseSettings):
    """Addresses and secrets have no defaults; limits and times do."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="forbid",
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    database_url: SecretStr = Field(description="PostgreSQL, as postgresql://user:password@host/database")
    database_pool_size: int = Field(default=8, gt=0, description="most connections per process")
    database_timeout_seconds: float = Field(default=10.0, gt=0, description="for a connection and for a statement")

    listen_host: str = Field(default="127.0.0.1", description="address to listen on")
    listen_port: int = Field(default=8082, ge=0, lt=65536, description="port of the API")
    worker_listen_port: int = Field(default=8083, ge=0, lt=65536, description="port of the worker's probes")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least level logged"
    )
    traces_endpoint: str | None = Field(default=None, description="OTLP over HTTP; without it nothing is traced")
    openapi_path: str = Field(
        default="/v1/organization/usage/openapi.json", description="where the OpenAPI document is"
    )

    service_token: SecretStr = Field(
        description="what other services present to /internal; the key that signs pages is derived from it"
    )
    org_service_url: str = Field(description="where admin keys are resolved")
    org_service_token: SecretStr = Field(description="what org_service wants to see")
    org_service_timeout_seconds: float = Field(default=2.0, gt=0, description="for one question to org_service")
    admin_key_cache_seconds: float = Field(
        default=30.0, ge=0, description="how long a revoked admin key may still be answered"
    )

    amqp_url: SecretStr | None = Field(default=None, description="RabbitMQ, the worker's source; or redis_url")
    redis_url: SecretStr | None = Field(default=None, description="the outbox itself, where there is no RabbitMQ")
    worker_name: str | None = Field(
        default=None,
        description="name in the outbox's consumer group, one per worker; by default host and process",
    )
    prefetch_messages: int = Field(
        default=32, gt=0, description="messages taken from RabbitMQ before their answer"
    )
    batch_events: int = Field(default=1000, gt=0, description="events in a transaction; a message is not split")
    poll_seconds: float = Field(default=1.0, gt=0, description="longest wait for an event; bounds a stop")
    claim_after_seconds: float = Field(
        default=30.0, gt=0, description="when the entries that a silent reader of the outbox took are taken over"
    )
    retry_seconds: float = Field(default=1.0, gt=0, description="first wait after a fault; doubles")
    retry_max_seconds: float = Field(default=30.0, gt=0, description="longest wait after a fault")

    late_days: int = Field(default=35, gt=0, description="older events become dead letters")
    future_seconds: int = Field(default=300, ge=0, description="events further ahead become dead letters")
    partitions_ahead_days: int = Field(default=62, gt=0, description="how far ahead partitions are made")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.amqp_url is not None and self.redis_url is not None:
            raise ValueError("give amqp_url or redis_url, not both: each event would be looked for twice")
        return self


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process, or of the environment given; raises ConfigurationError."""
    return load_settings(Settings, PREFIX, os.environ if environ is None else environ)

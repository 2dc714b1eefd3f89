"""Every setting of analytics, read once from the environment. Prefix TERN_ANALYTICS_."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX: Final = "TERN_ANALYTICS_"
_MADE_BY_KUBERNETES: Final = re.compile(r"_(SERVICE_HOST|SERVICE_PORT|PORT)(_|$)|_PORT$")


class Settings(BaseSettings):
    """Addresses and secrets have no defaults; limits and times do."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True)

    database_url: SecretStr
    database_pool_size: int = Field(default=8, gt=0)
    database_timeout_seconds: float = Field(default=10.0, gt=0)

    listen_host: str = "127.0.0.1"
    listen_port: int = Field(default=8082, ge=0, lt=65536)
    worker_listen_port: int = Field(default=8083, ge=0, lt=65536)
    openapi_path: str = "/v1/organization/usage/openapi.json"

    service_token: SecretStr
    """What other services present to /internal; the key that signs page tokens is derived from it."""
    org_service_url: str
    org_service_token: SecretStr
    org_service_timeout_seconds: float = Field(default=2.0, gt=0)
    admin_key_cache_seconds: float = Field(default=30.0, ge=0)
    """How long a revoked admin key may still be answered."""

    amqp_url: SecretStr | None = None
    redis_url: SecretStr | None = None
    """Where the events come from: the broker, or (embedded) the outbox itself. Exactly one for the worker."""
    worker_name: str | None = None
    """Name in the outbox's consumer group; by default host and process. One per running worker."""
    prefetch_messages: int = Field(default=32, gt=0)
    batch_events: int = Field(default=1000, gt=0)
    poll_seconds: float = Field(default=1.0, gt=0)
    claim_after_seconds: float = Field(default=30.0, gt=0)
    """When the entries that a silent reader of the outbox took are taken over."""
    retry_seconds: float = Field(default=1.0, gt=0)
    retry_max_seconds: float = Field(default=30.0, gt=0)

    late_days: int = Field(default=35, gt=0)
    future_seconds: int = Field(default=300, ge=0)
    partitions_ahead_days: int = Field(default=62, gt=0)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.amqp_url is not None and self.redis_url is not None:
            raise ValueError("give amqp_url or redis_url, not both: each event would be looked for twice")
        return self

    def redacted(self) -> dict[str, object]:
        """All values, secrets hidden."""
        return self.model_dump(mode="json")


class UnknownSettingError(ValueError):
    """A name under our prefix that is no setting: most likely a typing error."""


def from_environment(environ: Mapping[str, str]) -> Settings:
    """Settings from `environ`; raises UnknownSettingError or pydantic's ValidationError."""
    refuse_unknown_names(environ)
    return Settings()


def refuse_unknown_names(environ: Mapping[str, str]) -> None:
    """Raise UnknownSettingError for a name under our prefix that is neither a setting nor what Kubernetes
    injects for a Service called tern-analytics (TERN_ANALYTICS_PORT=tcp://...)."""
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}
    unknown = sorted(
        name
        for name in environ
        if name.upper().startswith(PREFIX) and name.upper() not in known and not _MADE_BY_KUBERNETES.search(name)
    )
    if unknown:
        raise UnknownSettingError(f"unknown settings: {', '.join(unknown)}")

"""Every setting of the router: one frozen class, from environment names that begin with TERN_ROUTER_."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from contracts.environment import load_settings
from router.duties.heartbeat import Patience
from router.relay import RelayLimits

PREFIX: Final = "TERN_ROUTER_"


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="forbid",
        env_ignore_empty=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    listen_host: str = "127.0.0.1"
    """Where the router listens."""
    listen_port: int = Field(default=8081, ge=0, le=65535)
    """0 takes a free one. Not `port`: Kubernetes sets that name itself."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Of the JSON lines on stderr."""

    redis_url: SecretStr
    """The ledger's Redis or Valkey; `redis+cluster://` for a cluster."""
    org_service_url: str
    """Where keys are resolved and the catalog comes from."""
    service_token: SecretStr
    """Shared with org_service and analytics."""
    analytics_url: str | None = None
    """Where lost ledger counters are rebuilt from."""
    amqp_url: SecretStr | None = None
    """Without it, usage events wait in the outbox for a worker that reads them there."""
    spool_directory: Path | None = None
    """A durable volume for settlements that the ledger could not take."""

    body_limit_bytes: int = Field(default=32 * 1024 * 1024, gt=0)
    """Larger request bodies get 413 before they are buffered."""
    body_timeout_seconds: float = Field(default=30.0, gt=0)
    """A request body that has not arrived by then gets 408."""
    answer_limit_bytes: int = Field(default=64 * 1024 * 1024, gt=0)
    """A whole answer of an upstream that is larger is a fault of the upstream."""
    frame_limit_bytes: int = Field(default=1024 * 1024, gt=0)
    """A frame of a stream that is larger ends the stream."""

    upstream_connections: int = Field(default=1024, gt=0)
    """At most, to each upstream."""
    upstream_attempts: int = Field(default=3, gt=0)
    """How many upstreams a call tries before its first byte."""
    connect_timeout_seconds: float = Field(default=5.0, gt=0)
    """Then the next upstream is tried."""
    unary_timeout_seconds: float = Field(default=600.0, gt=0)
    """For a whole answer; a client that says it gives up earlier is believed."""
    first_byte_timeout_seconds: float = Field(default=120.0, gt=0)
    """A stream without a first byte goes to the next upstream."""
    idle_timeout_seconds: float = Field(default=60.0, gt=0)
    """A stream whose upstream falls silent ends."""
    client_stall_timeout_seconds: float = Field(default=60.0, gt=0)
    """A client that does not read for so long is let go."""
    ping_seconds: float = Field(default=15.0, gt=0)
    """A stream without a byte for so long gets a comment as a sign of life."""
    probe_seconds: float = Field(default=2.0, gt=0)
    """Between two looks at the health and load of every upstream."""
    eject_after_faults: int = Field(default=3, gt=0)
    """So many faults in a row take an upstream out until a probe or an answer succeeds."""

    heartbeat_seconds: float = Field(default=1.0, gt=0)
    """Between two renewals of every open reservation."""
    lease_seconds: float = Field(default=10.0, gt=0)
    """A reservation that is not renewed for so long is reaped."""
    ledger_lost_seconds: float = Field(default=5.0, gt=0)
    """A stream that could not be extended for so long ends."""
    ledger_outage: Literal["deny", "bounded"] = "deny"
    """`deny` refuses new calls while the ledger is away; `bounded` lets an allowance through."""
    bounded_allowance_nano_usd: int = Field(default=1_000_000_000, ge=0)
    """Per replica and organization, with `ledger_outage=bounded`."""
    output_estimate_tokens: int = Field(default=256, gt=0)
    """What a stream of an unknown key and model reserves first, per choice."""
    tokens_per_second: float = Field(default=30.0, gt=0)
    """For cut calls of models that nothing was learned about yet."""

    report_use_seconds: float = Field(default=60.0, gt=0)
    """How often org_service is told when keys were last used."""
    cache_salt_secret: SecretStr | None = None
    """Separates the prefix caches of organizations, for upstreams that know `cache_salt`."""
    drain_seconds: float = Field(default=5.0, ge=0)
    """Unready for so long before the listener closes."""
    grace_seconds: float = Field(default=30.0, ge=0)
    """Then calls may run on for so long."""
    traces_endpoint: str | None = None
    """Where OpenTelemetry traces go (OTLP over HTTP); None: none are made."""

    @model_validator(mode="after")
    def _bounded_needs_a_spool(self) -> Self:
        if self.ledger_outage == "bounded" and self.spool_directory is None:
            raise ValueError("ledger_outage=bounded needs a spool_directory for the settlements of the outage")
        return self

    def relay_limits(self) -> RelayLimits:
        salt = self.cache_salt_secret
        return RelayLimits(
            attempts=self.upstream_attempts,
            frame_cap_bytes=self.frame_limit_bytes,
            answer_cap_bytes=self.answer_limit_bytes,
            cache_salt_secret=salt.get_secret_value() if salt else None,
        )

    def patience(self) -> Patience:
        return Patience(
            beat_seconds=self.heartbeat_seconds,
            first_byte_seconds=self.first_byte_timeout_seconds,
            idle_seconds=self.idle_timeout_seconds,
            client_stall_seconds=self.client_stall_timeout_seconds,
            ledger_lost_seconds=self.ledger_lost_seconds,
            ping_seconds=self.ping_seconds,
        )


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process, or of the environment given; raises ConfigurationError."""
    return load_settings(Settings, PREFIX, os.environ if environ is None else environ)

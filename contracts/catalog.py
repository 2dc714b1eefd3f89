"""Models, aliases, upstreams and prices: the snapshot that the router routes and charges by."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from contracts.wire import Wire


class Operation(StrEnum):
    """What a model can be asked to do; the value is the path below /v1."""

    CHAT = "chat/completions"
    COMPLETION = "completions"
    EMBEDDING = "embeddings"
    RESPONSE = "responses"


class Price(Wire):
    """Rates in nano-USD per million tokens (1 USD per million = 1_000_000_000), in force from `effective_from`
    until the next price of the same model. Cached input and reasoning output default to the plain rates."""

    version: str
    effective_from: datetime
    input_nano_usd_per_million: int = Field(ge=0)
    output_nano_usd_per_million: int = Field(ge=0)
    cached_input_nano_usd_per_million: int | None = Field(default=None, ge=0)
    reasoning_output_nano_usd_per_million: int | None = Field(default=None, ge=0)


class Model(Wire):
    id: str
    operations: frozenset[Operation] = frozenset(Operation)
    context_window_tokens: int = Field(default=4096, gt=0)
    max_output_tokens: int = Field(default=4096, gt=0)
    image_input_tokens: int = Field(default=1024, ge=0)
    owned_by: str = "tern"
    created_at: datetime
    prices: tuple[Price, ...] = ()


class Capabilities(Wire):
    """What an upstream can do beyond answering; where it cannot report usage, deltas are counted."""

    usage_in_stream: bool = True
    continuous_usage: bool = False
    cancel_on_disconnect: bool = True


class Upstream(Wire):
    """One server that serves one model. `base_url` ends in /v1; `model_name` is what the server calls it."""

    id: str
    model_id: str
    base_url: str
    model_name: str
    weight: int = Field(default=1, ge=0)
    api_key: str | None = Field(default=None, repr=False)
    capabilities: Capabilities = Capabilities()


class Catalog(Wire):
    version: int = 0
    models: tuple[Model, ...] = ()
    aliases: dict[str, str] = Field(default_factory=dict)
    upstreams: tuple[Upstream, ...] = ()

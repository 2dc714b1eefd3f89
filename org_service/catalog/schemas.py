"""The catalog on the wire. Rates are integers of nano-USD per million tokens: 1 USD per million = 10^9."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, Strict, StringConstraints

from contracts.catalog import Capabilities, Operation
from org_service.tables import Alias, Model, Price, Upstream
from org_service.wire import Body, Flag, Identified, ModelName, Name, Timestamp

Tokens = Annotated[int, Strict(), Field(gt=0, le=100_000_000)]
Rate = Annotated[int, Strict(), Field(ge=0, le=10**15)]


def _v1(url: str) -> str:
    return url.rstrip("/")


BaseUrl = Annotated[
    str,
    StringConstraints(max_length=2048, pattern=r"^https?://[^\s/?#@\x00-\x1f]+(/[^\s?#\x00-\x1f]*)?/v1/?$"),
    AfterValidator(_v1),
]


UpstreamKey = Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=r"^[\x21-\x7e]+$")]


class ModelCreate(Body):
    id: ModelName
    operations: Annotated[list[Operation], Field(min_length=1, default_factory=lambda: list(Operation))]
    context_window_tokens: Tokens = 4096
    max_output_tokens: Tokens = 4096
    image_input_tokens: Annotated[int, Strict(), Field(ge=0, le=1_000_000)] = 1024
    owned_by: Name = "tern"


class ModelUpdate(Body):
    operations: Annotated[list[Operation], Field(min_length=1)] | None = None
    context_window_tokens: Tokens | None = None
    max_output_tokens: Tokens | None = None
    image_input_tokens: Annotated[int, Strict(), Field(ge=0, le=1_000_000)] | None = None
    owned_by: Name | None = None


class ModelView(Identified):
    object: Literal["organization.model"] = "organization.model"
    operations: list[str]
    context_window_tokens: int
    max_output_tokens: int
    image_input_tokens: int
    owned_by: str
    created_at: Timestamp

    @classmethod
    def of(cls, row: Model) -> ModelView:
        return cls.model_validate(row)


class AliasPut(Body):
    """Creates the alias, or points it at another model."""

    id: ModelName
    model: ModelName


class AliasView(Identified):
    object: Literal["organization.alias"] = "organization.alias"
    model: str
    created_at: Timestamp

    @classmethod
    def of(cls, row: Alias) -> AliasView:
        return cls(id=row.id, model=row.model_id, created_at=row.created_at)


class CapabilitiesBody(Body):
    usage_in_stream: Flag = True
    continuous_usage: Flag = False
    cancel_on_disconnect: Flag = True


class UpstreamCreate(Body):
    """`model_name` is what the server calls the model: the catalog's name unless given."""

    model: ModelName
    base_url: BaseUrl
    model_name: Name | None = None
    weight: Annotated[int, Strict(), Field(ge=0, le=1_000_000)] = 1
    api_key: UpstreamKey | None = None
    capabilities: CapabilitiesBody = CapabilitiesBody()


class UpstreamUpdate(Body):
    base_url: BaseUrl | None = None
    model_name: Name | None = None
    weight: Annotated[int, Strict(), Field(ge=0, le=1_000_000)] | None = None
    api_key: UpstreamKey | None = None
    capabilities: CapabilitiesBody | None = None


class UpstreamView(Identified):
    """The key that opens the upstream is never shown."""

    object: Literal["organization.upstream"] = "organization.upstream"
    model: str
    base_url: str
    model_name: str
    weight: int
    has_api_key: bool
    capabilities: Capabilities
    created_at: Timestamp

    @classmethod
    def of(cls, row: Upstream) -> UpstreamView:
        return cls(
            id=row.id,
            model=row.model_id,
            base_url=row.base_url,
            model_name=row.model_name,
            weight=row.weight,
            has_api_key=row.api_key is not None,
            capabilities=Capabilities.model_validate(row.capabilities),
            created_at=row.created_at,
        )


class PriceCreate(Body):
    """In force from `effective_from` (Unix seconds; now unless given) until the model's next price."""

    model: ModelName
    effective_from: Annotated[int, Strict(), Field(ge=0, le=4_102_444_800)] | None = None
    input_nano_usd_per_million: Rate
    output_nano_usd_per_million: Rate
    cached_input_nano_usd_per_million: Rate | None = None
    reasoning_output_nano_usd_per_million: Rate | None = None


class PriceView(Identified):
    object: Literal["organization.price"] = "organization.price"
    model: str
    effective_from: Timestamp
    input_nano_usd_per_million: int
    output_nano_usd_per_million: int
    cached_input_nano_usd_per_million: int | None
    reasoning_output_nano_usd_per_million: int | None
    created_at: Timestamp

    @classmethod
    def of(cls, row: Price) -> PriceView:
        rates = {name: getattr(row, name) for name in cls.model_fields if name.endswith("_per_million")}
        return cls(
            id=row.id, model=row.model_id, effective_from=row.effective_from, created_at=row.created_at, **rates
        )

"""Replies, in OpenAI's shapes: pages of buckets of results."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

from pydantic import BaseModel

Result = TypeVar("Result", bound=BaseModel)


class Dimensions(BaseModel):
    """Null where not grouped by."""

    project_id: str | None = None
    user_id: str | None = None
    api_key_id: str | None = None


class CompletionsResult(Dimensions):
    """`input_tokens` = cached + cache_write + uncached."""

    object: Literal["organization.usage.completions.result"] = "organization.usage.completions.result"
    input_tokens: int
    input_cached_tokens: int
    input_uncached_tokens: int
    input_cache_write_tokens: int = 0
    output_tokens: int
    num_model_requests: int
    input_text_tokens: int
    input_cached_text_tokens: int
    output_text_tokens: int
    input_audio_tokens: int = 0
    input_cached_audio_tokens: int = 0
    output_audio_tokens: int = 0
    input_image_tokens: int = 0
    input_cached_image_tokens: int = 0
    output_image_tokens: int = 0
    model: str | None = None
    batch: bool | None = None
    service_tier: str | None = None
    api_source: Literal["unlabeled"] | None = None


class EmbeddingsResult(Dimensions):
    object: Literal["organization.usage.embeddings.result"] = "organization.usage.embeddings.result"
    input_tokens: int
    num_model_requests: int
    model: str | None = None


class Amount(BaseModel):
    """`value` is what OpenAI's shape demands, a float; `value_decimal` is the same amount exactly."""

    value: float
    value_decimal: str
    currency: Literal["usd"] = "usd"


class CostsResult(Dimensions):
    object: Literal["organization.costs.result"] = "organization.costs.result"
    amount: Amount
    line_item: str | None = None
    quantity: float | None = None
    quantity_unit: Literal["tokens"] | None = None
    api_source: Literal["unlabeled"] | None = None


class Bucket(BaseModel, Generic[Result]):
    object: Literal["bucket"] = "bucket"
    start_time: int
    end_time: int
    results: list[Result]


class BucketPage(BaseModel, Generic[Result]):
    object: Literal["page"] = "page"
    data: list[Bucket[Result]]
    has_more: bool
    next_page: str | None = None

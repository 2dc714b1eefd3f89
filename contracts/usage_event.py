"""UsageEvent v1: one billable call (or a correction of one) as a CloudEvents 1.0 JSON event.

Many events travel in one message as a CloudEvents batch (a JSON array). A batch is decoded event by event,
so that a malformed one never takes its neighbours along.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any, Final

from pydantic import AwareDatetime, Field, ValidationError

from contracts.catalog import Operation
from contracts.grant import OwnerKind
from contracts.pricing import Tokens
from contracts.wire import Wire

EVENT_TYPE: Final = "tern.usage.v1"
EVENT_SOURCE: Final = "tern/router"
_ENVELOPED: Final = {"event_id", "occurred_at", "organization_id"}
_ENCODE: Final = json.JSONEncoder(separators=(",", ":")).encode
"""Made once: json.dumps makes one per call where it is given separators."""
BATCH_CONTENT_TYPE: Final = "application/cloudevents-batch+json"


class UsageSource(StrEnum):
    """Where the counts come from, best first."""

    REPORTED = "reported"
    COUNTED = "counted"
    ESTIMATED = "estimated"
    REAPED = "reaped"


class CallStatus(StrEnum):
    OK = "ok"
    CANCELLED = "cancelled"
    STOPPED = "stopped"
    FAILED = "failed"
    REAPED = "reaped"


class UsageEvent(Wire):
    """`event_id` is the call id, or `<call id>.correction` with `corrects` = the call id. `occurred_at` is the
    ledger's clock at reserve: with the id it is the unique key at the end of the way."""

    event_id: str = Field(min_length=1)
    occurred_at: AwareDatetime
    organization_id: str = Field(min_length=1)
    project_id: str
    key_id: str
    owner_kind: OwnerKind
    owner_id: str
    operation: Operation
    model_id: str
    upstream_id: str | None = None
    stream: bool = False
    status: CallStatus = CallStatus.OK
    usage_source: UsageSource
    tokens: Tokens
    requests: int = 1
    cost_nano_usd: int
    cost_input_nano_usd: int = 0
    cost_cached_input_nano_usd: int = 0
    """What of `cost_nano_usd` was charged for uncached and for cached input (pricing.split_cost); the rest is
    output's."""
    price_version: str
    duration_ms: int = Field(default=0, ge=0)
    first_token_ms: int | None = Field(default=None, ge=0)
    corrects: str | None = None


class MalformedEventError(ValueError):
    """The bytes are no UsageEvent v1; the message says why."""


def encode(event: UsageEvent) -> bytes:
    """One CloudEvent as compact JSON."""
    envelope = {
        "specversion": "1.0",
        "id": event.event_id,
        "source": EVENT_SOURCE,
        "type": EVENT_TYPE,
        "subject": event.organization_id,
        "time": event.occurred_at.isoformat(timespec="microseconds"),
        "datacontenttype": "application/json",
    }
    data = event.model_dump_json(exclude=_ENVELOPED)
    return f'{_ENCODE(envelope)[:-1]},"data":{data}}}'.encode()


def decode(envelope: Any) -> UsageEvent:
    """One CloudEvent, as parsed JSON, back to a UsageEvent; raises MalformedEventError."""
    if not isinstance(envelope, dict) or envelope.get("type") != EVENT_TYPE:
        raise MalformedEventError(f"not an event of type {EVENT_TYPE}")
    data = envelope.get("data")
    if not isinstance(data, dict):
        raise MalformedEventError("data is not an object")
    identity = {
        "event_id": envelope.get("id"),
        "occurred_at": envelope.get("time"),
        "organization_id": envelope.get("subject"),
    }
    try:
        return UsageEvent.model_validate(data | identity)
    except ValidationError as error:
        raise MalformedEventError(str(error)) from error


def encode_batch(encoded: Iterable[bytes]) -> bytes:
    """Encoded events as one batch."""
    return b"[" + b",".join(encoded) + b"]"


def decode_batch(body: bytes) -> Iterator[tuple[Any, UsageEvent | MalformedEventError]]:
    """Each element of a batch with what became of it; raises MalformedEventError if it is no JSON array."""
    try:
        elements = json.loads(body)
    except ValueError as error:
        raise MalformedEventError(f"not JSON: {error}") from error
    if not isinstance(elements, list):
        raise MalformedEventError("not a JSON array")
    for element in elements:
        try:
            yield element, decode(element)
        except MalformedEventError as error:
            yield element, error


def correction(settled: UsageEvent, before: UsageEvent) -> UsageEvent:
    """The difference between a late settlement and the event that was charged when the call was reaped."""
    return settled.model_copy(
        update={
            "event_id": f"{settled.event_id}.correction",
            "corrects": settled.event_id,
            "tokens": settled.tokens.minus(before.tokens),
            "cost_nano_usd": settled.cost_nano_usd - before.cost_nano_usd,
            "cost_input_nano_usd": settled.cost_input_nano_usd - before.cost_input_nano_usd,
            "cost_cached_input_nano_usd": settled.cost_cached_input_nano_usd - before.cost_cached_input_nano_usd,
            "requests": 0,
        }
    )

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.catalog import Operation
from contracts.grant import OwnerKind
from contracts.pricing import Tokens
from contracts.usage_event import (
    CallStatus,
    MalformedEventError,
    UsageEvent,
    UsageSource,
    correction,
    decode,
    decode_batch,
    encode,
    encode_batch,
)

EVENTS = st.builds(
    UsageEvent,
    event_id=st.uuids().map(str),
    occurred_at=st.datetimes(
        timezones=st.just(UTC), min_value=datetime(2020, 1, 1), max_value=datetime(2100, 1, 1)
    ),
    organization_id=st.just("org_1"),
    project_id=st.just("proj_1"),
    key_id=st.just("key_1"),
    owner_kind=st.sampled_from(OwnerKind),
    owner_id=st.just("user_1"),
    operation=st.sampled_from(Operation),
    model_id=st.text(min_size=1),
    status=st.sampled_from(CallStatus),
    usage_source=st.sampled_from(UsageSource),
    tokens=st.builds(Tokens, input=st.integers(0, 2**40), output=st.integers(0, 2**40)),
    cost_nano_usd=st.integers(0, 2**53),
    price_version=st.just("price_1"),
)


@given(EVENTS)
def test_an_event_survives_the_wire_exactly(event: UsageEvent) -> None:
    assert decode(json.loads(encode(event))) == event


@given(st.lists(EVENTS, max_size=5), st.integers(0, 5))
def test_a_poison_event_never_takes_its_neighbours_along(events: list[UsageEvent], position: int) -> None:
    encoded = [encode(event) for event in events]
    encoded.insert(min(position, len(encoded)), b'{"type":"tern.usage.v1","data":7}')
    decoded = [outcome for _, outcome in decode_batch(encode_batch(encoded))]
    assert [outcome for outcome in decoded if isinstance(outcome, UsageEvent)] == events
    assert sum(isinstance(outcome, MalformedEventError) for outcome in decoded) == 1


@pytest.mark.parametrize("body", [b"", b"{}", b"nonsense", b"\xff"])
def test_a_body_that_is_no_array_is_refused_whole(body: bytes) -> None:
    with pytest.raises(MalformedEventError):
        list(decode_batch(body))


@given(EVENTS, EVENTS)
def test_a_correction_and_what_was_charged_before_add_up(event: UsageEvent, before: UsageEvent) -> None:
    difference = correction(event, before)
    assert difference.cost_nano_usd + before.cost_nano_usd == event.cost_nano_usd
    assert difference.tokens.output + before.tokens.output == event.tokens.output
    assert (difference.requests, difference.corrects) == (0, event.event_id)
    assert difference.event_id != event.event_id

"""Whatever was recorded: groups add up to totals, widths agree, and a walk over pages sees each bucket once."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics.app import Deps, create_app
from tests.analytics.reporting import Admins, client_of, record, walk

DAY = datetime(2026, 3, 10, tzinfo=UTC)
START, END = int(DAY.timestamp()), int(DAY.timestamp()) + 3 * 86400
PATHS = ("/v1/organization/usage/completions", "/v1/organization/usage/embeddings")
COSTS = "/v1/organization/costs"
GROUPS = ("project_id", "user_id", "api_key_id", "model")

CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "seconds": st.integers(0, 3 * 86400 - 1),
            "project_id": st.sampled_from(["proj_a", "proj_b"]),
            "owner_id": st.sampled_from(["user_a", "user_b", "svc_c"]),
            "key_id": st.sampled_from(["key_a", "key_b"]),
            "model_id": st.sampled_from(["small", "large"]),
            "operation": st.sampled_from(["chat/completions", "completions", "responses", "embeddings"]),
            "input": st.integers(0, 5000),
            "cached": st.integers(0, 5000),
            "output": st.integers(0, 5000),
            "costs": st.tuples(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9)),
        }
    ),
    max_size=25,
)


@pytest.fixture
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def _events(calls: list[dict[str, Any]], organization_id: str, make_event: Any) -> list[Any]:
    return [
        make_event(
            organization_id=organization_id,
            occurred_at=DAY + timedelta(seconds=call["seconds"]),
            tokens={
                "input": call["input"],
                "cached_input": min(call["cached"], call["input"]),
                "output": call["output"],
            },
            cost_nano_usd=sum(call["costs"]),
            cost_input_nano_usd=call["costs"][0],
            cost_cached_input_nano_usd=call["costs"][1],
            **{name: call[name] for name in ("project_id", "owner_id", "key_id", "model_id", "operation")},
        )
        for call in calls
    ]


def _sums(buckets: list[dict[str, Any]], *dimensions: str) -> dict[Any, tuple[int, ...]]:
    sums: dict[Any, tuple[int, ...]] = defaultdict(lambda: (0, 0, 0, 0))
    for bucket in buckets:
        for row in bucket["results"]:
            key = (bucket["start_time"], *(row[name] for name in dimensions))
            names = ("num_model_requests", "input_tokens", "output_tokens", "input_cached_tokens")
            counts = tuple(row.get(name, 0) for name in names)
            sums[key] = tuple(a + b for a, b in zip(sums[key], counts, strict=True))
    return dict(sums)


def _nano(buckets: list[dict[str, Any]]) -> dict[int, int]:
    return {
        bucket["start_time"]: sum(
            int(row["amount"]["value_decimal"].replace(".", "")) for row in bucket["results"]
        )
        for bucket in buckets
    }


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=CALLS, groups=st.sets(st.sampled_from(GROUPS)), limit=st.integers(1, 31))
def test_groups_widths_and_pages_agree_with_what_was_recorded(
    loop: asyncio.Runner, make_settings: Any, usage_database_url: str, make_event: Any,
    calls: list[dict[str, Any]], groups: set[str], limit: int,
) -> None:  # fmt: skip
    organization_id = f"org_{uuid.uuid4().hex}"
    events = _events(calls, organization_id, make_event)
    admins = Admins()
    app = create_app(make_settings(), Deps(directory=admins.directory))

    async def check() -> None:
        if events:
            await record(usage_database_url, events)
        async with client_of(app, admins.key(organization_id)) as client:
            counted = 0
            for path in PATHS:
                span: dict[str, Any] = {"start_time": START, "end_time": END}
                days = await walk(client, path, **span, limit=limit)
                assert [bucket["start_time"] for bucket in days] == list(range(START, END, 86400))
                grouped = await walk(client, path, **span, limit=limit, **{"group_by[]": sorted(groups)})
                assert _sums(grouped) == _sums(days)
                hours = await walk(client, path, **span, bucket_width="1h", limit=limit)
                assert [bucket["start_time"] for bucket in hours] == list(range(START, END, 3600))
                by_day: dict[Any, tuple[int, ...]] = {}
                for (hour,), sums in _sums(hours).items():
                    day = (hour - hour % 86400,)
                    by_day[day] = tuple(a + b for a, b in zip(by_day.get(day, (0,) * 4), sums, strict=True))
                assert by_day == _sums(days)
                counted += sum(sums[0] for sums in _sums(days).values())
            assert counted == len(events)
            whole = _nano(await walk(client, COSTS, start_time=START, end_time=END, limit=limit))
            lines = await walk(client, COSTS, start_time=START, end_time=END, limit=limit, group_by="line_item")
            assert _nano(lines) == whole
            assert sum(whole.values()) == sum(event.cost_nano_usd for event in events)

    loop.run(check())

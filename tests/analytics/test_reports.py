"""The usage and cost reports: right sums, whole walks, OpenAI's shapes, and nobody else's numbers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import openai
import pytest

from analytics.app import Deps, create_app
from tests.analytics.reporting import Admins, client_of, record, walk
from tests.fakes.serving import served

COMPLETIONS = "/v1/organization/usage/completions"
EMBEDDINGS = "/v1/organization/usage/embeddings"
COSTS = "/v1/organization/costs"
DAY = datetime(2026, 3, 10, tzinfo=UTC)
START = int(DAY.timestamp())


@pytest.fixture
def admins() -> Admins:
    return Admins()


@pytest.fixture
def app(make_settings: Any, admins: Admins) -> Any:
    return create_app(make_settings(), Deps(directory=admins.directory, now=lambda: DAY + timedelta(days=3)))


@pytest.fixture
async def client(app: Any, admins: Admins) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(app, admins.key("org_a")) as opened:
        yield opened


def at(hours: float) -> datetime:
    return DAY + timedelta(hours=hours)


@pytest.fixture
async def recorded(usage_database_url: str, make_event: Any) -> None:
    """Two days of two projects, two models and an embedding; one call of another organization."""
    calls = [
        {"occurred_at": at(1), "project_id": "proj_a", "model_id": "small"},
        {"occurred_at": at(1.5), "project_id": "proj_b", "model_id": "small", "owner_id": "user_b"},
        {"occurred_at": at(25), "project_id": "proj_b", "model_id": "large", "key_id": "key_b"},
        {"occurred_at": at(26), "operation": "embeddings", "tokens": {"input": 7}, "model_id": "embed"},
        {"occurred_at": at(2), "operation": "responses", "project_id": "proj_a", "model_id": "large"},
        {"occurred_at": at(3), "organization_id": "org_b", "cost_nano_usd": 777},
    ]
    await record(usage_database_url, [make_event(**call) for call in calls])


@pytest.mark.usefixtures("recorded")
async def test_completions_are_chat_completions_and_responses_but_not_embeddings(client: Any) -> None:
    buckets = await walk(client, COMPLETIONS, start_time=START, end_time=START + 2 * 86400)
    assert [len(bucket["results"]) for bucket in buckets] == [1, 1]
    (result,) = buckets[0]["results"]
    assert result == {
        "object": "organization.usage.completions.result",
        "num_model_requests": 3,
        "input_tokens": 30, "input_cached_tokens": 12, "input_uncached_tokens": 18, "input_cache_write_tokens": 0,
        "output_tokens": 15, "input_text_tokens": 18, "input_cached_text_tokens": 12, "output_text_tokens": 15,
        "input_audio_tokens": 0, "input_cached_audio_tokens": 0, "output_audio_tokens": 0,
        "input_image_tokens": 0, "input_cached_image_tokens": 0, "output_image_tokens": 0,
        "project_id": None, "user_id": None, "api_key_id": None, "model": None,
        "batch": None, "service_tier": None, "api_source": None,
    }  # fmt: skip


@pytest.mark.usefixtures("recorded")
async def test_embeddings_are_reported_apart(client: Any) -> None:
    buckets = await walk(client, EMBEDDINGS, start_time=START, end_time=START + 2 * 86400)
    assert buckets[0]["results"] == []
    (result,) = buckets[1]["results"]
    assert (result["input_tokens"], result["num_model_requests"]) == (7, 1)
    assert result["object"] == "organization.usage.embeddings.result"


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("brackets", ["", "[]"])
async def test_groups_and_filters_with_and_without_brackets(client: Any, brackets: str) -> None:
    params = {
        "start_time": START,
        "bucket_width": "1d",
        f"group_by{brackets}": ["project_id", "model"],
        f"models{brackets}": ["small", "large"],
        f"project_ids{brackets}": ["proj_b"],
        "limit": 2,
    }
    page = (await client.get(COMPLETIONS, params=params)).json()
    found = [
        (bucket["start_time"], row["project_id"], row["model"], row["user_id"], row["num_model_requests"])
        for bucket in page["data"]
        for row in bucket["results"]
    ]
    assert found == [(START, "proj_b", "small", None, 1), (START + 86400, "proj_b", "large", None, 1)]


@pytest.mark.usefixtures("recorded")
async def test_filters_by_user_and_key(client: Any) -> None:
    by_user = await walk(client, COMPLETIONS, start_time=START, **{"user_ids[]": "user_b"})
    by_key = await walk(client, COMPLETIONS, start_time=START, **{"api_key_ids[]": "key_b"})
    for buckets in (by_user, by_key):
        assert sum(row["num_model_requests"] for bucket in buckets for row in bucket["results"]) == 1


@pytest.mark.usefixtures("recorded")
async def test_constant_dimensions_are_named_when_grouped_by(client: Any) -> None:
    params = {"start_time": START, "limit": 1, "group_by[]": ["batch", "service_tier", "api_source"]}
    (bucket,) = (await client.get(COMPLETIONS, params=params)).json()["data"]
    (row,) = bucket["results"]
    assert (row["batch"], row["service_tier"], row["api_source"]) == (False, "default", "unlabeled")
    nothing = (await client.get(COMPLETIONS, params=params | {"batch": "true"})).json()
    assert nothing["data"][0]["results"] == []


@pytest.mark.usefixtures("recorded")
async def test_cost_lines_add_up_to_the_cost_exactly(client: Any) -> None:
    whole = await walk(client, COSTS, start_time=START)
    lines = await walk(client, COSTS, start_time=START, **{"group_by[]": "line_item"})
    for together, apart in zip(whole, lines, strict=True):
        total = sum(row["amount"]["value"] for row in together["results"])
        assert sum(row["amount"]["value"] for row in apart["results"]) == pytest.approx(total, abs=1e-12)
    small = {row["line_item"]: row for row in lines[0]["results"]}
    assert small["small, input_tokens"]["amount"] == {
        "value": 6e-7, "value_decimal": "0.000000600", "currency": "usd",
    }  # fmt: skip
    assert small["small, cached_input_tokens"]["amount"]["value_decimal"] == "0.000000200"
    assert small["small, output_tokens"]["amount"]["value_decimal"] == "0.000001200"
    quantities = {name: (row["quantity"], row["quantity_unit"]) for name, row in small.items() if "small" in name}
    assert quantities == {
        "small, input_tokens": (12.0, "tokens"),
        "small, cached_input_tokens": (8.0, "tokens"),
        "small, output_tokens": (10.0, "tokens"),
    }


@pytest.mark.usefixtures("recorded")
async def test_costs_of_one_line_and_of_one_project(client: Any) -> None:
    line = await walk(client, COSTS, start_time=START, **{"line_items[]": "large, output_tokens"})
    assert [row["amount"]["value_decimal"] for bucket in line for row in bucket["results"]] == ["0.000000600"] * 2
    grouped = await walk(client, COSTS, start_time=START, group_by="project_id", project_ids="proj_b")
    assert {row["project_id"] for bucket in grouped for row in bucket["results"]} == {"proj_b"}


async def test_empty_buckets_are_there(client: Any) -> None:
    buckets = await walk(client, COMPLETIONS, start_time=START + 60, end_time=START + 600, bucket_width="1m")
    assert [bucket["start_time"] for bucket in buckets] == list(range(START + 60, START + 600, 60))
    assert all(bucket["end_time"] == bucket["start_time"] + 60 for bucket in buckets)
    assert all(bucket["results"] == [] for bucket in buckets)


@pytest.mark.parametrize(("width", "default", "most"), [("1m", 60, 1440), ("1h", 24, 168), ("1d", 7, 31)])
async def test_the_number_of_buckets_has_a_default_and_a_limit(
    client: Any, width: str, default: int, most: int
) -> None:
    asked = {"start_time": START - 86400 * 40, "bucket_width": width}
    assert len((await client.get(COMPLETIONS, params=asked)).json()["data"]) == default
    assert len((await client.get(COMPLETIONS, params=asked | {"limit": most})).json()["data"]) == most
    refused = await client.get(COMPLETIONS, params=asked | {"limit": most + 1})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "limit")


@pytest.mark.usefixtures("recorded")
async def test_another_organizations_key_sees_another_organizations_numbers(app: Any, admins: Admins) -> None:
    async with client_of(app, admins.key("org_b")) as other:
        buckets = await walk(other, COSTS, start_time=START, **{"project_ids[]": ["proj_a", "proj_b"]})
        values = [row["amount"]["value_decimal"] for bucket in buckets for row in bucket["results"]]
        assert values == ["0.000000777"]
        theirs = await walk(other, COMPLETIONS, start_time=START, **{"project_ids[]": "proj_b"})
        assert all(bucket["results"] == [] for bucket in theirs)


@pytest.mark.usefixtures("recorded")
async def test_the_openai_sdk_reads_all_three(app: Any, admins: Admins) -> None:
    async with (
        served(app) as (url, _),
        openai.AsyncOpenAI(admin_api_key=admins.key("org_a"), base_url=f"{url}/v1", max_retries=0) as sdk,
    ):
        usage = sdk.admin.organization.usage
        first = await usage.completions(
            start_time=START, limit=1, group_by=["model"], models=["small", "large"], bucket_width="1d"
        )
        assert [row.to_dict()["model"] for row in first.data[0].results] == ["large", "small"]
        assert first.next_page is not None
        second = await usage.completions(
            start_time=START, limit=1, group_by=["model"], models=["large", "small"], page=first.next_page
        )
        assert second.data[0].start_time == START + 86400
        costs = await usage.costs(start_time=START, group_by=["line_item"], project_ids=["proj_b"])
        (row, *_) = costs.data[0].results
        assert row.object == "organization.costs.result"
        assert row.amount is not None
        assert row.amount.value == 3e-7 or row.line_item == "small, cached_input_tokens"
        embeddings = await usage.embeddings(start_time=START, user_ids=["user_a"])
        assert embeddings.data[1].results[0].to_dict()["input_tokens"] == 7
        with pytest.raises(openai.BadRequestError) as refused:
            await usage.costs(start_time=START, limit=1000)
        assert refused.value.param == "limit"
        assert refused.value.request_id

"""A fresh installation, and every start after it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx2

from contracts.catalog import Capabilities, Catalog, Model, Operation, Price, Upstream
from contracts.grant import Grant
from org_service.bootstrap import Plan, bootstrap
from org_service.migrate import migrate
from tests.org_service.conftest import Running, resolve

LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)


def plan(port: int = 1) -> Plan:
    price = Price(
        version="ignored",
        effective_from=LONG_AGO,
        input_nano_usd_per_million=100_000_000,
        output_nano_usd_per_million=400_000_000,
    )
    model = Model(
        id="tern-demo",
        operations=frozenset({Operation.CHAT, Operation.COMPLETION}),
        context_window_tokens=512,
        max_output_tokens=256,
        created_at=LONG_AGO,
        prices=(price,),
    )
    upstreams = tuple(
        Upstream(
            id=f"upstream_demo_{number}",
            model_id="tern-demo",
            base_url=f"http://127.0.0.1:{port + number}/v1",
            model_name="demo",
            capabilities=Capabilities(continuous_usage=True),
        )
        for number in range(2)
    )
    catalog = Catalog(models=(model,), aliases={"demo": "tern-demo"}, upstreams=upstreams)
    return Plan(catalog=catalog, exclusive_upstreams=True)


async def snapshot(client: httpx2.AsyncClient) -> dict[str, Any]:
    body: dict[str, Any] = (await client.get("/internal/v1/catalog")).json()
    return body


async def test_secrets_are_given_once(database_url: str) -> None:
    await migrate(database_url)
    first = await bootstrap(database_url, Plan())
    second = await bootstrap(database_url, Plan())
    assert first.api_key is not None
    assert first.admin_key is not None
    assert (second.organization_id, second.api_key, second.admin_key) == (first.organization_id, None, None)
    assert first.api_key not in repr(first)


async def test_keys_that_were_lost_are_made_anew_in_the_same_organization(database_url: str) -> None:
    await migrate(database_url)
    first = await bootstrap(database_url, Plan())
    again = await bootstrap(database_url, Plan(fresh_keys=True))
    assert (again.organization_id, again.project_id) == (first.organization_id, first.project_id)
    assert again.api_key not in (None, first.api_key)
    assert again.admin_key not in (None, first.admin_key)


async def test_two_first_starts_at_once_found_one_organization(database_url: str) -> None:
    await migrate(database_url)
    made = await asyncio.gather(*(bootstrap(database_url, Plan()) for _ in range(4)))
    assert len({each.organization_id for each in made}) == 1
    assert len([each for each in made if each.admin_key is not None]) == 1


async def test_the_catalog_is_brought_about_and_then_left_alone(org: Running) -> None:
    database_url = org.settings.database_url.get_secret_value()
    await bootstrap(database_url, plan())
    async with org.internal() as client:
        first = await snapshot(client)
        await bootstrap(database_url, plan())
        assert await snapshot(client) == first
        await bootstrap(database_url, plan(port=5))
        third = await snapshot(client)
    catalog = Catalog.model_validate(first)
    assert catalog.aliases == {"demo": "tern-demo"}
    assert catalog.models[0].prices[0].output_nano_usd_per_million == 400_000_000
    assert catalog.models[0].prices[0].effective_from == LONG_AGO
    assert [upstream.base_url for upstream in catalog.upstreams] == [
        "http://127.0.0.1:1/v1",
        "http://127.0.0.1:2/v1",
    ]
    assert catalog.upstreams[0].capabilities.continuous_usage
    assert third["version"] > first["version"]
    assert [upstream["base_url"] for upstream in third["upstreams"]] == [
        "http://127.0.0.1:5/v1",
        "http://127.0.0.1:6/v1",
    ]


async def test_upstreams_that_are_gone_leave_the_catalog(org: Running) -> None:
    database_url = org.settings.database_url.get_secret_value()
    await bootstrap(database_url, plan())
    await bootstrap(database_url, Plan(exclusive_upstreams=True))
    async with org.internal() as client:
        assert (await snapshot(client))["upstreams"] == []


async def test_the_first_key_and_the_admin_key_work(org: Running) -> None:
    grant = Grant.model_validate((await resolve(org, org.installation.api_key or ""))["grant"])
    assert grant.project_id == org.installation.project_id
    async with org.sdk() as client:
        projects = await client.admin.organization.projects.list()
    assert [project.id for project in projects.data] == [org.installation.project_id]

"""`last_used_at`: what routers report and what this service sees itself, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx2
import psycopg
import pytest
import redis.asyncio

from contracts.api_key import digest
from contracts.key_use import KEY_USES_PER_REPORT, KeyUse, KeyUseReport
from contracts.topology import KEY_USE_PATH, RESOLVE_ADMIN_KEY_PATH
from org_service.settings import Settings
from tests.org_service.conftest import Running, Template, resolve, serving
from tests.org_service.test_feed import eventually

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
async def key(org: Running) -> KeyUse:
    """The first key, used at noon."""
    grant = (await resolve(org, org.installation.api_key or ""))["grant"]
    assert isinstance(grant, dict)
    return KeyUse(key_id=grant["key_id"], organization_id=grant["organization_id"], at=NOON)


async def report(org: Running, *uses: KeyUse) -> httpx2.Response:
    async with org.internal() as client:
        return await client.post(KEY_USE_PATH, json=KeyUseReport(uses=uses).model_dump(mode="json"))


async def last_used_at(org: Running, key: KeyUse) -> int | None:
    async with org.sdk() as client:
        keys = client.admin.organization.projects.api_keys
        return (await keys.retrieve(key.key_id, project_id=org.installation.project_id or "")).last_used_at


async def test_a_reported_use_is_shown_and_never_goes_back(org: Running, key: KeyUse) -> None:
    assert await last_used_at(org, key) is None
    later = key.model_copy(update={"at": NOON + timedelta(seconds=7)})
    for uses in ((key,), (later, key), (key,)):
        assert (await report(org, *uses)).status_code == 204
    assert await last_used_at(org, key) == int(later.at.timestamp())


async def test_a_use_in_another_organizations_name_changes_nothing(org: Running, key: KeyUse) -> None:
    strange = key.model_copy(update={"organization_id": "org_of_somebody_else"})
    unknown = key.model_copy(update={"key_id": "key_of_nobody"})
    assert (await report(org, strange, unknown)).status_code == 204
    assert await last_used_at(org, key) is None


async def test_a_router_whose_clock_is_ahead_is_not_believed(org: Running, key: KeyUse) -> None:
    await report(org, key.model_copy(update={"at": datetime.now(UTC) + timedelta(days=365)}))
    assert await last_used_at(org, key) == pytest.approx(datetime.now(UTC).timestamp(), abs=60)


async def test_a_report_wants_the_service_token_and_a_bound(org: Running, key: KeyUse) -> None:
    async with org.http() as client:
        body = KeyUseReport(uses=(key,)).model_dump(mode="json")
        assert (await client.post(KEY_USE_PATH, json=body)).status_code == 401
    many = {"uses": [key.model_dump(mode="json")] * (KEY_USES_PER_REPORT + 1)}
    async with org.internal() as client:
        for body in (many, {"uses": [{**many["uses"][0], "at": "2026-01-01T00:00:00"}]}):
            assert (await client.post(KEY_USE_PATH, json=body)).status_code == 400
    assert await last_used_at(org, key) is None


async def test_a_report_that_waits_for_a_key_holds_no_later_one(org: Running, key: KeyUse) -> None:
    """So it never waits in a circle with a revocation, which locks keys in the same order. The later key is given
    to PostgreSQL first in every other order."""
    project_id = org.installation.project_id or ""
    async with org.sdk() as client:
        account = await client.admin.organization.projects.service_accounts.create(project_id, name="robot")
        assert account.api_key is not None
    first, last = sorted((key.key_id, account.api_key.id))
    async with await psycopg.AsyncConnection.connect(org.settings.database_url.get_secret_value()) as admin:
        await admin.execute("UPDATE api_keys SET name = 'moved behind' WHERE id = %s", [first])
        await admin.commit()
        await admin.execute("SELECT FROM api_keys WHERE id = %s FOR UPDATE", [first])
        uses = [key.model_copy(update={"key_id": key_id}) for key_id in (last, first)]
        waiting = asyncio.create_task(report(org, *uses))
        await eventually(lambda: is_waiting(admin))
        await admin.execute("SELECT FROM api_keys WHERE id = %s FOR UPDATE NOWAIT", [last])
        await admin.commit()
        assert (await waiting).status_code == 204


async def is_waiting(admin: psycopg.AsyncConnection) -> bool:
    """Whether anybody waits for what `admin` holds."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    row = await (await admin.execute(query)).fetchone()
    return row is not None and row[0] > 0


@pytest.fixture
async def quick(
    settings: Settings, template: Template, redis_client: redis.asyncio.Redis
) -> AsyncIterator[Running]:
    """As `org`, and the uses of admin keys are written at once."""
    quick = settings.model_copy(update={"last_use_seconds": 0.05})
    async with serving(quick) as url:
        yield Running(url, quick, template.installation)


async def admin_key_used_at(org: Running, name: str, asking: str) -> int | None:
    async with org.sdk(asking) as client:
        pages = client.admin.organization.admin_api_keys.list()
        return {key.name: key.last_used_at async for key in pages}[name]


async def make_admin_key(org: Running, name: str) -> str:
    async with org.sdk() as client:
        return (await client.admin.organization.admin_api_keys.create(name=name)).value


async def test_the_use_of_an_admin_key_is_shown(quick: Running) -> None:
    first = quick.installation.admin_key or ""
    second = await make_admin_key(quick, "second")
    assert await admin_key_used_at(quick, "second", asking=first) is None

    async def is_shown() -> bool:
        return await admin_key_used_at(quick, "second", asking=second) is not None

    await eventually(is_shown)


async def test_analytics_asking_who_is_behind_an_admin_key_is_a_use(quick: Running) -> None:
    first = quick.installation.admin_key or ""
    second = await make_admin_key(quick, "second")
    async with quick.internal() as client:
        await client.post(RESOLVE_ADMIN_KEY_PATH, json={"key_hash": digest(second)})

    async def is_shown() -> bool:
        return await admin_key_used_at(quick, "second", asking=first) is not None

    await eventually(is_shown)


async def test_what_was_noted_is_written_at_the_end_at_the_latest(
    settings: Settings, template: Template, redis_client: redis.asyncio.Redis
) -> None:
    async with serving(settings) as url:
        org = Running(url, settings, template.installation)
        second = await make_admin_key(org, "second")
        assert await admin_key_used_at(org, "second", asking=second) is None
    async with serving(settings) as url:
        org = Running(url, settings, template.installation)
        first = org.installation.admin_key or ""
        assert await admin_key_used_at(org, "second", asking=first) is not None

"""PostgreSQL and Redis come and go; changes wait in the outbox and none is lost."""

from __future__ import annotations

import asyncio
import contextlib

import psycopg
import pytest
import redis.asyncio
from pydantic import SecretStr

from contracts.change import Change, ChangeKind
from contracts.topology import CHANGE_FEED
from org_service.bootstrap import Plan, bootstrap
from org_service.migrate import migrate
from org_service.settings import Settings
from tern.stack.process import free_port
from tests.org_service.conftest import SERVICE_TOKEN, Running, Template, serving
from tests.parts.servers import folder, start_postgres, start_redis


@pytest.mark.faults
async def test_changes_wait_for_redis_and_arrive_in_order(installed_url: str, template: Template) -> None:
    with folder("org-redis") as directory, contextlib.ExitStack() as started:
        port = free_port()
        url = f"redis://127.0.0.1:{port}/0"
        settings = Settings(
            database_url=SecretStr(installed_url),
            redis_url=SecretStr(url),
            service_token=SecretStr(SERVICE_TOKEN),
        )
        async with serving(settings) as address:
            org = Running(address, settings, template.installation)
            async with org.http() as http:
                for cents in range(5):
                    path = "/v1/organization/spend_limit"
                    assert (await http.post(path, json={"threshold_amount": cents})).status_code == 200
                assert (await http.get("/ready")).json()["checks"]["change_feed"] == "unavailable"
                started.callback(start_redis(directory, port).stop)
                versions = await organization_versions(url, 5)
                assert versions == sorted(versions)
                assert (await http.get("/ready")).json()["checks"]["change_feed"] == "ok"


async def organization_versions(url: str, count: int) -> list[int]:
    """The versions of the first `count` changes of an organization on the feed."""
    client = redis.asyncio.Redis.from_url(url)
    found: list[int] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            entries = await client.xrange(CHANGE_FEED)
            changes = [Change.model_validate_json(fields[b"change"]) for _, fields in entries]
            found = [change.version for change in changes if change.kind is ChangeKind.ORGANIZATION]
            await asyncio.sleep(0.05)
    await client.aclose()
    return found


@pytest.mark.faults
async def test_without_postgres_there_is_a_503_and_afterwards_everything_goes_on(redis_server_url: str) -> None:
    with folder("org-postgres") as directory, contextlib.ExitStack() as started:
        port = free_port()
        server = start_postgres(directory, port)
        started.callback(server.stop)
        database_url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("ALTER DATABASE postgres SET synchronous_commit = on")
        await migrate(database_url)
        installation = await bootstrap(database_url, Plan())
        settings = Settings(
            database_url=SecretStr(database_url),
            redis_url=SecretStr(redis_server_url),
            service_token=SecretStr(SERVICE_TOKEN),
        )
        async with serving(settings) as address, Running(address, settings, installation).http() as http:
            assert (await http.get("/ready")).status_code == 200
            server.kill()
            away = await http.get("/v1/organization/projects")
            assert (away.status_code, away.json()["error"]["code"]) == (503, "database_unavailable")
            assert away.headers["retry-after"] == "1"
            assert (await http.get("/ready")).status_code == 503
            assert (await http.get("/health")).status_code == 200
            started.callback(start_postgres(directory, port).stop)
            async with asyncio.timeout(20):
                while (await http.get("/v1/organization/projects")).status_code != 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            assert (await http.post("/v1/organization/projects", json={"name": "again"})).status_code == 200


async def test_the_heartbeat_is_one_a_second_however_many_replicas(
    org: Running, redis_client: redis.asyncio.Redis
) -> None:
    async with serving(org.settings), serving(org.settings):
        began_at_ms = await sent_at_ms(redis_client)
        await asyncio.sleep(3)
        ended_at_ms = await sent_at_ms(redis_client)
    beats = await redis_client.xrange(CHANGE_FEED, f"({began_at_ms}", ended_at_ms)
    seconds = (ended_at_ms - began_at_ms) / 1000
    assert 2 <= len(beats) <= seconds + 1


async def sent_at_ms(client: redis.asyncio.Redis) -> int:
    """Redis's own clock, by which it numbers what is on the feed."""
    seconds, microseconds = await client.time()
    return int(seconds) * 1000 + microseconds // 1000


async def test_metrics_name_routes_and_never_ids(org: Running) -> None:
    async with org.http() as http:
        await http.get(f"/v1/organization/projects/{org.installation.project_id}")
        text = (await http.get("/metrics")).text
    assert 'route="/v1/organization/projects/{project_id}"' in text
    assert (org.installation.project_id or "") not in text

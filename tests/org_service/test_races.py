"""Administrators who act at the same moment."""

from __future__ import annotations

import asyncio

import psycopg

from tests.org_service.conftest import Running, resolve

BASE = "/v1/organization"


async def test_a_key_rotated_many_times_at_once_keeps_one_lasting_secret(org: Running) -> None:
    project = f"{BASE}/projects/{org.installation.project_id}"
    async with org.http() as http:
        key = (await http.post(f"{project}/api_keys", json={"name": "k"})).json()
        path = f"{project}/api_keys/{key['id']}/rotate"
        replies = await asyncio.gather(*(http.post(path, json={"grace_period_seconds": 60}) for _ in range(6)))
    assert [reply.status_code for reply in replies] == [200] * 6
    resolutions = [await resolve(org, reply.json()["value"]) for reply in replies]
    lasting = [each for each in resolutions if each["grant"]["expires_at"] is None]  # type: ignore[index]
    assert len(lasting) == 1


async def test_the_last_owner_and_the_last_admin_key_stay_however_many_try(org: Running) -> None:
    async with org.http() as http:
        keys = [(await http.post(f"{BASE}/admin_api_keys", json={"name": "k"})).json()["id"] for _ in range(3)]
        listed = (await http.get(f"{BASE}/admin_api_keys")).json()["data"]
        deletions = await asyncio.gather(*(http.delete(f"{BASE}/admin_api_keys/{key['id']}") for key in listed))
    with psycopg.connect(org.settings.database_url.get_secret_value()) as connection:
        live = connection.execute("SELECT count(*) FROM admin_keys WHERE revoked_at IS NULL").fetchone()
    assert live is not None
    assert live[0] == 1 + len(keys) - sum(reply.status_code == 200 for reply in deletions)
    assert live[0] >= 1


async def test_a_user_who_leaves_takes_no_last_admin_key_along(org: Running) -> None:
    async with org.http() as http:
        owner = (await http.get(f"{BASE}/users")).json()["data"][0]
        body = {"email": "second@example.com", "role": "owner"}
        assert (await http.post(f"{BASE}/users", json=body)).status_code == 200
        reply = await http.delete(f"{BASE}/users/{owner['id']}")
        assert (reply.status_code, reply.json()["error"]["code"]) == (409, "last_admin_key")
        assert (await http.get(f"{BASE}/users/{owner['id']}")).status_code == 200


async def test_the_same_email_twice_at_once_is_one_user(org: Running) -> None:
    async with org.http() as http:
        body = {"email": "twice@example.com"}
        replies = await asyncio.gather(*(http.post(f"{BASE}/users", json=body) for _ in range(4)))
    assert sorted(reply.status_code for reply in replies) == [200, 409, 409, 409]

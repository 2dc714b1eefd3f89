"""Pages: whatever is listed is walked exactly once, by the real SDK and by both cursors."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from org_service.ids import new_id
from org_service.paging import Cut, read_memory
from tests.org_service.conftest import Running

IDS = st.sets(st.text("abc0", min_size=1, max_size=4), max_size=25)


@given(ids=IDS, limit=st.integers(1, 7), descending=st.booleans())
def test_after_walks_every_row_once(ids: set[str], limit: int, descending: bool) -> None:
    walked: list[str] = []
    after = None
    while True:
        part = read_memory(ids, lambda row: row, Cut(after, None, limit, descending))
        walked += part.rows
        if not part.has_more:
            break
        after = part.rows[-1]
    assert walked == sorted(ids, reverse=descending)


@given(ids=IDS, limit=st.integers(1, 7), descending=st.booleans())
def test_before_walks_every_row_once_backwards(ids: set[str], limit: int, descending: bool) -> None:
    walked: list[str] = []
    before = "\x00" if descending else "~"
    while True:
        part = read_memory(ids, lambda row: row, Cut(None, before, limit, descending))
        walked = [*part.rows, *walked]
        if not part.has_more:
            break
        before = part.rows[0]
    assert walked == sorted(ids, reverse=descending)


def test_ids_sort_by_time() -> None:
    ids = []
    for _ in range(5):
        ids += [new_id("proj") for _ in range(20)]
        earlier = max(ids)
        while new_id("proj")[:15] == earlier[:15]:
            continue
    stamps = [each[:15] for each in ids]
    assert stamps == sorted(stamps)
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("limit", [1, 2, 7, 100])
async def test_the_sdk_walks_every_list_once(org: Running, limit: int) -> None:
    async with org.sdk() as client:
        organization = client.admin.organization
        made = await asyncio.gather(*(organization.projects.create(name=f"p{n}") for n in range(9)))
        project_id = made[0].id
        accounts = organization.projects.service_accounts
        robots = [await accounts.create(project_id, name=f"robot {n}") for n in range(7)]
        key_ids = {robot.api_key.id for robot in robots if robot.api_key}
        lists: list[tuple[Any, set[str]]] = [
            (organization.projects.list(limit=limit), {project.id for project in made}),
            (accounts.list(project_id, limit=limit), {robot.id for robot in robots}),
            (
                organization.projects.api_keys.list(project_id, limit=limit),
                key_ids,
            ),
            (organization.admin_api_keys.list(limit=limit, order="desc"), set()),
            (organization.projects.rate_limits.list_rate_limits(project_id, limit=limit), set()),
            (organization.audit_logs.list(limit=limit), set()),
            (organization.users.list(limit=limit), set()),
        ]
        for walk, expected in lists:
            ids = [item.id async for item in walk]
            assert len(ids) == len(set(ids))
            assert expected <= set(ids)


async def test_an_envelope_serves_every_style_of_page(org: Running) -> None:
    async with org.http() as http:
        for name in ("a", "b"):
            await http.post("/v1/organization/projects", json={"name": name})
        first = (await http.get("/v1/organization/projects", params={"limit": 2})).json()
        assert first["object"] == "list"
        assert (first["first_id"], first["last_id"]) == (first["data"][0]["id"], first["data"][1]["id"])
        assert (first["has_more"], first["next"]) == (True, first["last_id"])
        second = (await http.get("/v1/organization/projects", params={"after": first["next"]})).json()
        assert (second["has_more"], second["next"], len(second["data"])) == (False, None, 1)
        back = (await http.get("/v1/organization/projects", params={"before": second["first_id"]})).json()
        assert back["data"] == first["data"]


async def test_an_empty_page_has_no_ends(org: Running) -> None:
    async with org.http() as http:
        page = (await http.get("/v1/organization/spend_alerts")).json()
    assert page == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
        "next": None,
    }

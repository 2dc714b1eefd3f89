"""Last uses of keys: noted by every call, kept until org_service took them, told once."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from contracts.key_use import KEY_USES_PER_REPORT
from router.directory.key_uses import KeyUses
from router.duties.report_use import ReportUse
from router.log import JsonLog
from tests.fakes.org import FakeOrg, a_grant
from tests.router.conftest import House

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
CAPACITY = 3 * KEY_USES_PER_REPORT


@dataclass
class Desk:
    org: FakeOrg
    uses: KeyUses
    report: ReportUse
    registry: CollectorRegistry
    log: io.StringIO

    def told(self) -> dict[str, datetime]:
        return {use.key_id: use.at for use in self.org.uses}


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    org, uses, registry, log = FakeOrg(), KeyUses(CAPACITY), CollectorRegistry(), io.StringIO()
    client = org.client()
    yield Desk(org, uses, ReportUse(uses, client, 0.01, registry, JsonLog(log)), registry, log)
    await client.close()


async def test_the_last_use_of_each_key_is_told_once(desk: Desk) -> None:
    for name, at in (("a", NOON), ("b", NOON), ("a", NOON + SECOND)):
        desk.uses.note(a_grant(name), at)
    await desk.report.attempt()
    await desk.report.attempt()
    assert desk.told() == {"key_a": NOON + SECOND, "key_b": NOON}
    assert [use.organization_id for use in desk.org.uses] == ["organization_a", "organization_b"]


async def test_a_use_while_a_report_travels_is_told_with_the_next(desk: Desk) -> None:
    desk.org.gate = asyncio.Event()
    desk.uses.note(a_grant(), NOON)
    travelling = asyncio.create_task(desk.report.attempt())
    while not desk.org.uses:  # noqa: ASYNC110
        await asyncio.sleep(0)
    desk.uses.note(a_grant(), NOON + SECOND)
    desk.org.gate.set()
    await travelling
    assert len(desk.uses) == 1
    await desk.report.attempt()
    assert desk.told() == {"key_a": NOON + SECOND}


async def test_what_org_service_does_not_take_is_kept_and_told_again(desk: Desk) -> None:
    desk.uses.note(a_grant(), NOON)
    desk.org.available = False
    await desk.report.attempt()
    assert desk.registry.get_sample_value("tern_router_report_use_failures_total") == 1
    assert '"kept": 1' in desk.log.getvalue()
    desk.org.available = True
    await desk.report.attempt()
    assert desk.told() == {"key_a": NOON}


async def test_a_report_that_is_broken_off_loses_nothing(desk: Desk) -> None:
    desk.org.gate = asyncio.Event()
    desk.uses.note(a_grant(), NOON)
    running = asyncio.create_task(desk.report.run())
    while not desk.org.uses:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    desk.org.uses.clear()
    desk.org.gate = None
    await desk.report.finish()
    assert desk.told() == {"key_a": NOON}


async def test_what_is_kept_is_bounded_and_what_is_lost_is_counted(desk: Desk) -> None:
    desk.org.available = False
    for number in range(CAPACITY + 7):
        desk.uses.note(a_grant(str(number)), NOON)
    await desk.report.attempt()
    assert len(desk.uses) == CAPACITY
    assert desk.registry.get_sample_value("tern_router_report_use_lost_total") == 7
    desk.org.available = True
    await desk.report.attempt()
    assert set(desk.told()) == {f"key_{number}" for number in range(7, CAPACITY + 7)}
    assert len(desk.uses) == 0


async def test_a_key_that_was_shown_is_used_and_one_that_was_refused_is_not(house: House) -> None:
    stranger = house.directory.issue("2")
    mismatched = {"authorization": f"Bearer {stranger}", "openai-organization": "org_of_somebody_else"}
    assert (await house.http.get("/v1/models", headers=mismatched)).status_code == 401
    before = datetime.now(UTC)
    assert (await house.chat("tokens-3")).status_code == 200
    assert list(house.directory.last_used_at) == ["key_1"]
    assert before <= house.directory.last_used_at["key_1"] <= datetime.now(UTC)

"""What ledgers are rebuilt from: each level's recorded spend, for services only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from analytics.app import Deps, create_app
from contracts.grant import LevelKind, Period
from contracts.spend import SpendReport
from contracts.topology import SPEND_PATH
from tests.analytics.conftest import SERVICE_TOKEN
from tests.analytics.reporting import Admins, client_of, record

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
HEADERS = {"authorization": f"Bearer {SERVICE_TOKEN}"}


@pytest.fixture
def app(make_settings: Any) -> Any:
    return create_app(make_settings(), Deps(directory=Admins().directory, now=lambda: NOW))


async def test_each_level_has_its_day_its_month_and_all_time(
    app: Any, usage_database_url: str, make_event: Any
) -> None:
    facts: list[dict[str, Any]] = [
        {"occurred_at": NOW, "cost_nano_usd": 1},
        {"occurred_at": NOW - timedelta(days=2), "cost_nano_usd": 20, "project_id": "proj_b"},
        {"occurred_at": NOW - timedelta(days=20), "cost_nano_usd": 300, "key_id": "key_b"},
        {"occurred_at": NOW, "cost_nano_usd": 4000, "owner_id": "user_b", "operation": "embeddings"},
        {"occurred_at": NOW, "cost_nano_usd": 50000, "organization_id": "org_b"},
    ]
    await record(usage_database_url, [make_event(**fact) for fact in facts])
    async with client_of(app) as client:
        reply = await client.get(SPEND_PATH, params={"organization_id": "org_a"}, headers=HEADERS)
    report = SpendReport.model_validate_json(reply.content)
    spent = {
        (level.level, level.id): tuple(
            level.in_period(period) for period in (Period.DAY, Period.MONTH, Period.NONE)
        )
        for level in report.levels
    }
    assert spent == {
        (LevelKind.ORGANIZATION, "org_a"): (4001, 4021, 4321),
        (LevelKind.PROJECT, "proj_a"): (4001, 4001, 4301),
        (LevelKind.PROJECT, "proj_b"): (0, 20, 20),
        (LevelKind.USER, "user_a"): (1, 21, 321),
        (LevelKind.USER, "user_b"): (4000, 4000, 4000),
        (LevelKind.KEY, "key_a"): (4001, 4021, 4021),
        (LevelKind.KEY, "key_b"): (0, 0, 300),
    }


async def test_an_earlier_moment_has_the_periods_of_that_moment(
    app: Any, usage_database_url: str, make_event: Any
) -> None:
    december = datetime(2025, 12, 31, 23, 30, tzinfo=UTC)
    calls = [make_event(occurred_at=december), make_event(occurred_at=NOW)]
    await record(usage_database_url, calls)
    async with client_of(app) as client:
        params = {"organization_id": "org_a", "at": "2026-01-01T00:30:00+01:00"}
        reply = await client.get(SPEND_PATH, params=params, headers=HEADERS)
    organization = SpendReport.model_validate_json(reply.content).levels[1]
    assert organization.level is LevelKind.ORGANIZATION
    assert (organization.day_nano_usd, organization.month_nano_usd, organization.ever_nano_usd) == (
        1000,
        1000,
        2000,
    )


async def test_an_organization_of_which_nothing_was_recorded_has_no_levels(app: Any) -> None:
    """How a ledger tells a new organization from one whose counters were lost."""
    async with client_of(app) as client:
        reply = await client.get(SPEND_PATH, params={"organization_id": "org_new"}, headers=HEADERS)
    report = SpendReport.model_validate_json(reply.content)
    assert (report.organization_id, report.levels) == ("org_new", ())


async def test_only_a_service_may_ask(app: Any) -> None:
    async with client_of(app) as client:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {SERVICE_TOKEN}"}):
            reply = await client.get(SPEND_PATH, params={"organization_id": "org_a"}, headers=headers)
            assert reply.status_code == 401


async def test_a_question_without_an_organization_is_refused(app: Any) -> None:
    async with client_of(app) as client:
        reply = await client.get(SPEND_PATH, headers=HEADERS)
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, "organization_id")
        params = {"organization_id": "org_a", "at": "yesterday"}
        reply = await client.get(SPEND_PATH, params=params, headers=HEADERS)
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, "at")

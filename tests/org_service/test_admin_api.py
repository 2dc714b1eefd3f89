"""The real OpenAI SDK is the admin client."""

from __future__ import annotations

import pytest
from openai import AsyncOpenAI, BadRequestError, ConflictError, NotFoundError

from contracts.api_key import KeyKind, parse
from contracts.grant import Grant, PermissionMode, Refusal
from tests.org_service.conftest import Running, resolve


async def first_project(admin: AsyncOpenAI) -> str:
    return (await admin.admin.organization.projects.list()).data[0].id


async def grant_of(org: Running, secret: str) -> Grant:
    return Grant.model_validate((await resolve(org, secret))["grant"])


async def add_model(org: Running, model_id: str = "tern-small") -> None:
    async with org.http() as client:
        reply = await client.post("/v1/organization/models", json={"id": model_id})
    assert reply.status_code == 200, reply.text


async def test_a_project_lives_and_is_archived(org: Running) -> None:
    async with org.sdk() as client:
        projects = client.admin.organization.projects
        made = await projects.create(name="Research")
        assert (made.object, made.status, made.archived_at) == ("organization.project", "active", None)
        assert (await projects.update(made.id, name="Lab")).name == "Lab"
        archived = await projects.archive(made.id)
        assert archived.status == "archived"
        assert archived.archived_at is not None
        assert made.id not in [project.id async for project in projects.list()]
        assert made.id in [project.id async for project in projects.list(include_archived=True)]
        with pytest.raises(BadRequestError) as refused:
            await projects.update(made.id, name="again")
        assert refused.value.code == "project_archived"


async def test_a_service_account_comes_with_its_key_once(org: Running) -> None:
    async with org.sdk() as client:
        project_id = await first_project(client)
        accounts = client.admin.organization.projects.service_accounts
        made = await accounts.create(project_id, name="robot")
        assert made.api_key is not None
        assert parse(made.api_key.value) is KeyKind.SERVICE_ACCOUNT
        second = await accounts.api_keys.create(made.id, project_id=project_id, name="second")
        assert (await grant_of(org, second.value)).owner_id == made.id
        read = await accounts.retrieve(made.id, project_id=project_id)
        assert "value" not in read.model_dump_json()
        assert (await accounts.update(made.id, project_id=project_id, name="droid")).name == "droid"
        assert (await accounts.delete(made.id, project_id=project_id)).deleted
        assert [account.id async for account in accounts.list(project_id)] == []
    for secret in (made.api_key.value, second.value):
        assert (await resolve(org, secret))["refusal"] == Refusal.REVOKED


async def test_a_service_account_without_a_key_has_none(org: Running) -> None:
    async with org.sdk() as client:
        project_id = await first_project(client)
        accounts = client.admin.organization.projects.service_accounts
        made = await accounts.create(project_id, name="quiet", create_service_account_only=True)
        assert (made.api_key, made.role) == (None, "none")
        with pytest.raises(BadRequestError):
            await accounts.create(project_id, name="odd", create_service_account_only=True, expires_in_seconds=60)


async def test_a_key_is_made_with_owner_limits_expiry_and_models(org: Running) -> None:
    await add_model(org)
    async with org.sdk() as client:
        project_id = await first_project(client)
        user = (await client.admin.organization.users.list()).data[0]
    body = {
        "name": "careful",
        "user_id": user.id,
        "expires_in_seconds": 3600,
        "limits": {
            "spend": [{"threshold_amount": 500, "interval": "day"}],
            "rates": [{"max_requests_per_1_minute": 60}, {"model": "tern-small", "max_tokens_per_1_minute": 1000}],
            "max_concurrent_requests": 3,
        },
        "model_permissions": {"mode": "allow_list", "model_ids": ["tern-small"]},
    }
    async with org.http() as http:
        made = (await http.post(f"/v1/organization/projects/{project_id}/api_keys", json=body)).json()
    grant = await grant_of(org, made["value"])
    level = grant.levels[3]
    assert level.id == made["id"]
    assert [(each.limit_nano_usd, each.period) for each in level.spend] == [(5_000_000_000, "day")]
    assert {(rate.model_id, rate.requests_per_minute, rate.tokens_per_minute) for rate in level.rates} == {
        (None, 60, None),
        ("tern-small", None, 1000),
    }
    assert level.concurrency == 3
    assert grant.permissions[0].mode is PermissionMode.ALLOW_LIST
    assert grant.permits("tern-small")
    assert not grant.permits("another")
    assert grant.expires_at is not None
    assert int(grant.expires_at.timestamp()) == made["expires_at"]


async def test_project_keys_are_read_without_their_secret_and_revoked(org: Running) -> None:
    secret = org.installation.api_key or ""
    async with org.sdk() as client:
        project_id = await first_project(client)
        keys = client.admin.organization.projects.api_keys
        listed = (await keys.list(project_id)).data[0]
        assert listed.redacted_value.startswith("tern_sk_")
        read = await keys.retrieve(listed.id, project_id=project_id)
        assert secret not in read.model_dump_json()
        assert read.owner.type == "user"
        await keys.delete(listed.id, project_id=project_id)
        with pytest.raises(NotFoundError):
            await keys.retrieve(listed.id, project_id=project_id)
    assert (await resolve(org, secret))["refusal"] == Refusal.REVOKED


async def test_an_admin_key_is_made_used_and_deleted(org: Running) -> None:
    async with org.sdk() as client:
        keys = client.admin.organization.admin_api_keys
        made = await keys.create(name="second", expires_in_seconds=600)
        assert made.expires_at is not None
        async with org.sdk(made.value) as second:
            assert (await second.admin.organization.admin_api_keys.retrieve(made.id)).name == "second"
        assert "value" not in (await keys.retrieve(made.id)).model_dump_json(exclude_none=True).replace(
            "redacted_value", ""
        )
        assert (await keys.delete(made.id)).deleted
        remaining = [key.id async for key in keys.list()]
        assert made.id not in remaining
        with pytest.raises(ConflictError) as refused:
            await keys.delete(remaining[0])
        assert refused.value.code == "last_admin_key"


async def test_spend_limits_and_alerts_reach_the_grant(org: Running) -> None:
    async with org.sdk() as client:
        project_id = await first_project(client)
        organization = client.admin.organization
        with pytest.raises(NotFoundError):
            await organization.spend_limit.retrieve()
        await organization.spend_limit.update(currency="USD", interval="month", threshold_amount=10_000)
        await organization.projects.spend_limit.update(
            project_id, currency="USD", interval="month", threshold_amount=2_000
        )
        channel = {"type": "email", "recipients": ["ops@example.com"]}
        alert = await organization.projects.spend_alerts.create(
            project_id, currency="USD", interval="month", threshold_amount=1_600, notification_channel=channel
        )
        grant = await grant_of(org, org.installation.api_key or "")
        assert grant.levels[0].spend[0].limit_nano_usd == 100 * 10**9
        assert grant.levels[1].spend[0].alert_percents == (80,)
        read = await organization.projects.spend_limit.retrieve(project_id)
        assert (read.threshold_amount, read.enforcement.status) == (2_000, "enforcing")
        listed = await organization.projects.spend_alerts.list(project_id)
        assert [each.id for each in listed.data] == [alert.id]
        await organization.projects.spend_alerts.delete(alert.id, project_id=project_id)
        assert (await organization.spend_limit.delete()).deleted
        grant = await grant_of(org, org.installation.api_key or "")
        assert grant.levels[0].spend == ()
        assert grant.levels[1].spend[0].alert_percents == ()


async def test_a_budget_of_zero_is_a_budget(org: Running) -> None:
    async with org.sdk() as client:
        await client.admin.organization.spend_limit.update(currency="USD", interval="month", threshold_amount=0)
    grant = await grant_of(org, org.installation.api_key or "")
    assert [each.limit_nano_usd for each in grant.levels[0].spend] == [0]


async def test_project_rate_limits_are_listed_for_every_model_and_updated(org: Running) -> None:
    await add_model(org, "org/model.v1")
    async with org.sdk() as client:
        project_id = await first_project(client)
        limits = client.admin.organization.projects.rate_limits
        listed = {limit.model: limit async for limit in limits.list_rate_limits(project_id)}
        assert set(listed) == {"*", "org/model.v1"}
        await limits.update_rate_limit(
            listed["org/model.v1"].id, project_id=project_id, max_requests_per_1_minute=10
        )
        updated = await limits.update_rate_limit(
            listed["org/model.v1"].id, project_id=project_id, max_tokens_per_1_minute=1000
        )
        assert (updated.max_requests_per_1_minute, updated.max_tokens_per_1_minute) == (10, 1000)
    rates = (await grant_of(org, org.installation.api_key or "")).levels[1].rates
    assert [(rate.model_id, rate.requests_per_minute, rate.tokens_per_minute) for rate in rates] == [
        ("org/model.v1", 10, 1000)
    ]


async def test_model_permissions_of_a_project_use_canonical_names(org: Running) -> None:
    await add_model(org)
    async with org.http() as http:
        reply = await http.post("/v1/organization/aliases", json={"id": "fast", "model": "tern-small"})
        assert reply.status_code == 200
    async with org.sdk() as client:
        project_id = await first_project(client)
        permissions = client.admin.organization.projects.model_permissions
        await permissions.update(project_id, mode="allow_list", model_ids=["fast"])
        assert (await permissions.retrieve(project_id)).api_model_ids == ["tern-small"]
        with pytest.raises(BadRequestError) as refused:
            await permissions.update(project_id, mode="allow_list", model_ids=["tpyo"])
        assert refused.value.param == "model_ids"
        assert (await grant_of(org, org.installation.api_key or "")).permits("tern-small")
        assert (await permissions.delete(project_id)).deleted
    assert (await grant_of(org, org.installation.api_key or "")).permissions == ()


async def test_users_own_keys_and_take_them_along(org: Running) -> None:
    async with org.http() as http:
        body = {"email": "ada@example.com", "name": "Ada", "role": "reader"}
        user = (await http.post("/v1/organization/users", json=body)).json()
        project_id = org.installation.project_id
        key_body = {"name": "ada's", "user_id": user["id"]}
        key = (await http.post(f"/v1/organization/projects/{project_id}/api_keys", json=key_body)).json()
    async with org.sdk() as client:
        users = client.admin.organization.users
        assert [found.id for found in (await users.list(emails=["ADA@example.com"])).data] == [user["id"]]
        assert (await users.retrieve(user["id"])).name == "Ada"
        assert (await users.delete(user["id"])).deleted
        owner = (await users.list()).data[0]
        with pytest.raises(ConflictError):
            await users.delete(owner.id)
    assert (await resolve(org, key["value"]))["refusal"] == Refusal.REVOKED


async def test_every_write_leaves_an_audit_row(org: Running) -> None:
    async with org.sdk() as client:
        project = await client.admin.organization.projects.create(name="Audited")
        await client.admin.organization.projects.archive(project.id)
        logs = client.admin.organization.audit_logs
        events = [event.type async for event in logs.list(project_ids=[project.id])]
        assert events == ["project.archived", "project.created"]
        page = await logs.list(event_types=["project.created"], resource_ids=[project.id])
        assert page.data[0].project_created is not None
        assert page.data[0].actor is not None
        assert (await logs.list(effective_at={"lt": 1})).data == []


async def test_limits_of_every_level_are_read_and_written_alike(org: Running) -> None:
    await add_model(org)
    async with org.sdk() as client:
        project_id = await first_project(client)
        user_id = (await client.admin.organization.users.list()).data[0].id
        key_id = (await client.admin.organization.projects.api_keys.list(project_id)).data[0].id
    base = "/v1/organization"
    paths = [
        f"{base}/limits",
        f"{base}/projects/{project_id}/limits",
        f"{base}/users/{user_id}/limits",
        f"{base}/projects/{project_id}/api_keys/{key_id}/limits",
    ]
    async with org.http() as http:
        for number, path in enumerate(paths, start=1):
            body = {"spend": [{"threshold_amount": number}], "max_concurrent_requests": number}
            assert (await http.post(path, json=body)).status_code == 200
            assert (await http.post(path, json={"rates": [{"max_requests_per_1_minute": 5}]})).status_code == 200
            limits = (await http.get(path)).json()
            assert limits["spend"] == [{"threshold_amount": number, "interval": "month"}]
            assert limits["max_concurrent_requests"] == number
        levels = (await grant_of(org, org.installation.api_key or "")).levels
        assert [level.concurrency for level in levels] == [1, 2, 3, 4]
        assert [len(level.rates) for level in levels] == [1, 1, 1, 1]
        await http.post(paths[0], json={"spend": [], "rates": None, "max_concurrent_requests": None})
    level = (await grant_of(org, org.installation.api_key or "")).levels[0]
    assert (level.spend, level.rates, level.concurrency) == ((), (), None)

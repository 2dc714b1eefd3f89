"""What routers are told about keys and the catalog."""

from __future__ import annotations

from contracts.catalog import Catalog
from contracts.grant import Grant, LevelKind, Refusal, Resolution
from tests.org_service.conftest import Running, resolve


async def test_the_first_key_has_a_grant_with_four_levels(org: Running) -> None:
    grant = Grant.model_validate((await resolve(org, org.installation.api_key or ""))["grant"])
    assert [level.kind for level in grant.levels] == list(LevelKind)
    assert grant.organization_id == org.installation.organization_id


async def test_an_unknown_key_is_a_refusal_and_not_an_error(org: Running) -> None:
    assert Resolution.model_validate(await resolve(org, "nobody")).refusal is Refusal.UNKNOWN


async def test_internal_paths_want_the_service_token(org: Running) -> None:
    async with org.http() as client:
        for method, path in (("POST", "/internal/v1/keys/resolve"), ("GET", "/internal/v1/catalog")):
            reply = await client.request(method, path, json={"key_hash": "0" * 64})
            assert reply.status_code == 401, path
            assert reply.json()["error"]["code"] == "invalid_service_token"


async def test_the_catalog_is_empty_at_first(org: Running) -> None:
    async with org.internal() as client:
        catalog = Catalog.model_validate((await client.get("/internal/v1/catalog")).json())
    assert catalog == Catalog()

"""What routers are told about keys and the catalog."""

from __future__ import annotations

from contracts.api_key import digest
from contracts.catalog import Catalog
from contracts.grant import AdminResolution, Grant, LevelKind, Refusal, Resolution
from contracts.topology import RESOLVE_ADMIN_KEY_PATH
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


async def test_an_admin_key_is_resolved_for_analytics(org: Running) -> None:
    async with org.internal() as client:
        for secret, expected in ((org.installation.admin_key, None), ("nobody", Refusal.UNKNOWN)):
            reply = await client.post(RESOLVE_ADMIN_KEY_PATH, json={"key_hash": digest(secret or "")})
            resolution = AdminResolution.model_validate(reply.json())
            assert resolution.refusal is expected
            assert (resolution.identity is None) == (expected is not None)


async def test_internal_paths_are_no_part_of_the_public_document(org: Running) -> None:
    async with org.http() as client:
        paths = (await client.get("/v1/organization/openapi.json")).json()["paths"]
    assert [path for path in paths if path.startswith("/internal")] == []


async def test_replies_name_the_organization(org: Running) -> None:
    async with org.http() as client:
        reply = await client.get("/v1/organization/projects")
    assert reply.headers["openai-organization"] == org.installation.organization_id
    assert int(reply.headers["openai-processing-ms"]) >= 0


async def test_the_catalog_is_empty_at_first(org: Running) -> None:
    async with org.internal() as client:
        catalog = Catalog.model_validate((await client.get("/internal/v1/catalog")).json())
    assert catalog == Catalog()

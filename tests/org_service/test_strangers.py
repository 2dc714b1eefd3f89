"""Organization A's credentials on any route with B's ids: nothing is there, and nothing leaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from contracts.api_key import KeyKind, generate
from tests.org_service.conftest import Running

CATALOG_PREFIXES = ("/v1/organization/models", "/v1/organization/aliases", "/v1/organization/prices")
"""The catalog belongs to the deployment: every organization may read it, so there are no foreign ids in it."""
OPERATOR_PREFIXES = (*CATALOG_PREFIXES, "/v1/organization/upstreams", "/v1/organization/organizations")


@dataclass(frozen=True)
class Tenant:
    admin_key: str
    ids: dict[str, str]
    secrets: tuple[str, ...]


async def make_tenant(org: Running, name: str) -> Tenant:
    """A second organization in which every kind of object exists."""
    body = {"name": name, "owner_email": f"owner@{name}.example"}
    async with org.http() as operator:
        made = (await operator.post("/v1/organization/organizations", json=body)).json()
    project_id, admin_key = made["project"]["id"], made["admin_api_key"]["value"]
    channel = {"type": "email", "recipients": ["a@b.example"]}
    alert_body = {"threshold_amount": 1, "notification_channel": channel}
    project = f"/v1/organization/projects/{project_id}"
    async with org.http(admin_key) as http:
        account = (await http.post(f"{project}/service_accounts", json={"name": f"robot of {name}"})).json()
        key = (await http.post(f"{project}/api_keys", json={"name": f"key of {name}"})).json()
        alert = (await http.post(f"{project}/spend_alerts", json=alert_body)).json()
        organization_alert = (await http.post("/v1/organization/spend_alerts", json=alert_body)).json()
        for level in ("/v1/organization", project, f"{project}/api_keys/{key['id']}"):
            await http.post(f"{level}/limits", json={"spend": [{"threshold_amount": 7}]})
        rate_limit = (await http.get(f"{project}/rate_limits")).json()["data"][0]
    ids = {
        "organization_id": made["id"],
        "user_id": made["owner"]["id"],
        "project_id": project_id,
        "service_account_id": account["id"],
        "api_key_id": key["id"],
        "key_id": made["admin_api_key"]["id"],
        "alert_id": alert["id"],
        "organization_alert_id": organization_alert["id"],
        "rate_limit_id": rate_limit["id"],
        "upstream_id": "upstream_x",
        "model_id": "model_x",
        "alias_id": "alias_x",
        "price_id": "price_x",
    }
    return Tenant(admin_key, ids, (key["value"], account["api_key"]["value"], admin_key))


async def routes_of(org: Running) -> list[tuple[str, str, dict[str, Any]]]:
    """Every (method, path, operation) of the document that belongs to the administration API."""
    async with org.http() as http:
        document = (await http.get("/v1/organization/openapi.json")).json()
    return [
        (method.upper(), path, {**operation, "components": document["components"]})
        for path, operations in document["paths"].items()
        if path.startswith("/v1/")
        for method, operation in operations.items()
    ]


def example_body(operation: dict[str, Any]) -> dict[str, Any] | None:
    """The smallest valid body of an operation, from its schema."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    return None if content is None else example(content["schema"], operation["components"])


def example(schema: dict[str, Any], components: dict[str, Any]) -> Any:
    if "$ref" in schema:
        return example(components["schemas"][schema["$ref"].rpartition("/")[2]], components)
    if "enum" in schema or "const" in schema:
        return schema.get("const", (schema.get("enum") or [None])[0])
    match schema.get("type"):
        case "object":
            return {name: example(schema["properties"][name], components) for name in schema.get("required", [])}
        case "array":
            return [example(schema["items"], components)] * schema.get("minItems", 0)
        case "integer":
            return int(schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1))
        case "boolean":
            return True
        case _:
            return example_text(schema.get("pattern", ""))


def example_text(pattern: str) -> str:
    if "https?" in pattern:
        return "http://x.example/v1"
    return "a@b.example" if "@" in pattern[:4] else "name"


def fill(path: str, ids: dict[str, str]) -> str:
    """The path with these ids; an alert stands on the project or on the organization."""
    alert_id = ids["alert_id" if "{project_id}" in path else "organization_alert_id"]
    return path.format(**(ids | {"alert_id": alert_id}))


async def test_foreign_ids_are_not_found_on_any_route(org: Running) -> None:
    ours, theirs = await make_tenant(org, "ours"), await make_tenant(org, "theirs")
    walked = 0
    async with org.http(ours.admin_key) as http:
        for method, path, operation in await routes_of(org):
            if "{" not in path or path.startswith(OPERATOR_PREFIXES):
                continue
            reply = await http.request(method, fill(path, theirs.ids), json=example_body(operation))
            assert reply.status_code == 404, f"{method} {path}: {reply.status_code} {reply.text}"
            assert reply.json()["error"]["code"] == "not_found"
            walked += 1
    assert walked >= 40


async def test_own_project_with_a_foreign_child_is_not_found(org: Running) -> None:
    ours, theirs = await make_tenant(org, "ours"), await make_tenant(org, "theirs")
    mixed = theirs.ids | {"project_id": ours.ids["project_id"]}
    walked = 0
    async with org.http(ours.admin_key) as http:
        for method, path, operation in await routes_of(org):
            children = path.count("{")
            if children < 2 or path.endswith("{rate_limit_id}"):
                continue
            reply = await http.request(method, fill(path, mixed), json=example_body(operation))
            assert reply.status_code == 404, f"{method} {path}: {reply.status_code} {reply.text}"
            walked += 1
    assert walked >= 15


async def test_our_own_ids_are_found_on_the_same_walk(org: Running) -> None:
    """The walk above would also pass if everything were a 404: with our own ids nothing is."""
    ours = await make_tenant(org, "ours")
    async with org.http(ours.admin_key) as http:
        for method, path, _ in await routes_of(org):
            if method != "GET" or "{" not in path or path.startswith(OPERATOR_PREFIXES):
                continue
            reply = await http.get(fill(path, ours.ids))
            is_unset = path.endswith(("model_permissions",)) and reply.status_code == 404
            assert reply.status_code == 200 or is_unset, f"{path}: {reply.text}"


async def test_no_list_and_no_reply_shows_a_stranger(org: Running) -> None:
    ours, theirs = await make_tenant(org, "ours"), await make_tenant(org, "theirs")
    shared = {theirs.ids["rate_limit_id"]} | {v for v in theirs.ids.values() if v.endswith("_x")}
    async with org.http(ours.admin_key) as http:
        for method, path, _ in await routes_of(org):
            if method != "GET":
                continue
            reply = await http.get(fill(path, ours.ids), params={"after": ""} if "{" not in path else {})
            leaked = [value for value in theirs.ids.values() if value not in shared and value in reply.text]
            assert leaked == [], path
            assert "theirs" not in reply.text, path


async def test_a_foreign_owner_is_not_found(org: Running) -> None:
    ours, theirs = await make_tenant(org, "ours"), await make_tenant(org, "theirs")
    path = f"/v1/organization/projects/{ours.ids['project_id']}/api_keys"
    async with org.http(ours.admin_key) as http:
        for owner in ("user_id", "service_account_id"):
            reply = await http.post(path, json={"name": "stolen", owner: theirs.ids[owner]})
            assert reply.status_code == 404


async def test_only_the_operator_writes_the_catalog_and_founds_organizations(org: Running) -> None:
    ours = await make_tenant(org, "ours")
    walked = 0
    async with org.http(ours.admin_key) as http:
        for method, path, operation in await routes_of(org):
            is_read = method == "GET" and path.startswith(CATALOG_PREFIXES)
            if not path.startswith(OPERATOR_PREFIXES) or is_read:
                continue
            reply = await http.request(method, fill(path, ours.ids), json=example_body(operation))
            assert reply.status_code == 403, f"{method} {path}: {reply.text}"
            assert reply.json()["error"]["code"] == "insufficient_permissions"
            walked += 1
    assert walked >= 12


async def test_no_secret_is_shown_twice(org: Running) -> None:
    ours = await make_tenant(org, "ours")
    async with org.http(ours.admin_key) as http:
        for method, path, _ in await routes_of(org):
            if method == "GET":
                text = (await http.get(fill(path, ours.ids))).text
                assert [secret for secret in ours.secrets if secret in text] == [], path


async def test_no_route_answers_without_a_key(org: Running) -> None:
    ours = await make_tenant(org, "ours")
    async with org.http() as http:
        http.headers.pop("authorization")
        for method, path, operation in await routes_of(org):
            reply = await http.request(method, fill(path, ours.ids), json=example_body(operation))
            assert reply.status_code == 401, f"{method} {path}"


async def test_every_wrong_key_gets_the_same_401(org: Running) -> None:
    wrong = [
        "Bearer",
        "Basic abc",
        "Bearer nonsense",
        f"Bearer {generate(KeyKind.ADMIN)}",
        f"Bearer {generate(KeyKind.USER)}",
        f"Bearer {generate(KeyKind.ADMIN)[:-1]}x",
    ]
    async with org.http() as http:
        for authorization in wrong:
            reply = await http.get("/v1/organization/projects", headers={"authorization": authorization})
            assert reply.status_code == 401, authorization
            assert reply.headers["www-authenticate"] == "Bearer"
            assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


async def test_a_project_key_and_a_service_token_are_no_admin_keys(org: Running) -> None:
    async with org.http(org.installation.api_key) as http:
        assert (await http.get("/v1/organization/projects")).status_code == 401
    async with org.internal() as http:
        assert (await http.get("/v1/organization/projects")).status_code == 401


async def test_another_organizations_header_is_refused(org: Running) -> None:
    ours, theirs = await make_tenant(org, "ours"), await make_tenant(org, "theirs")
    async with org.http(ours.admin_key) as http:
        http.headers["openai-organization"] = theirs.ids["organization_id"]
        reply = await http.get("/v1/organization/projects")
        assert (reply.status_code, reply.json()["error"]["code"]) == (401, "mismatched_organization")
        http.headers["openai-organization"] = ours.ids["organization_id"]
        assert (await http.get("/v1/organization/projects")).status_code == 200

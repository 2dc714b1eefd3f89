"""The account that the load is charged to: a priced model on the stub server and limits on all four levels."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx2

from benchmarks.contenders.tern_parts import Parts
from benchmarks.process import ContenderError
from benchmarks.upstream import MODEL
from contracts.catalog import Capabilities, Catalog, Model, Price, Upstream
from org_service.bootstrap import Plan, bootstrap

LIMITS = {
    "spend": [{"threshold_amount": 900_000_000, "interval": "month"}],
    "rates": [{"max_requests_per_1_minute": 100_000_000, "max_tokens_per_1_minute": 100_000_000}],
    "max_concurrent_requests": 100_000,
}
"""Wide enough never to refuse; each is checked and charged at every call."""


@dataclass(frozen=True)
class Account:
    project_id: str
    api_key: str = field(repr=False)
    admin_key: str = field(repr=False)


async def open_account(parts: Parts, upstream_url: str) -> Account:
    """Needs migrated databases."""
    made = await bootstrap(parts.org_database, Plan(catalog=catalog(upstream_url)))
    if made.project_id is None or made.api_key is None or made.admin_key is None:
        raise ContenderError("the fresh installation gave no keys")
    return Account(made.project_id, made.api_key, made.admin_key)


def catalog(upstream_url: str) -> Catalog:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    price = Price(
        version="1",
        effective_from=yesterday,
        input_nano_usd_per_million=50_000_000,
        output_nano_usd_per_million=200_000_000,
    )
    upstream = Upstream(
        id="upstream-1",
        model_id=MODEL,
        base_url=f"{upstream_url}/v1",
        model_name=MODEL,
        capabilities=Capabilities(continuous_usage=True),
    )
    return Catalog(models=(Model(id=MODEL, created_at=yesterday, prices=(price,)),), upstreams=(upstream,))


def set_limits(org_service_url: str, account: Account) -> None:
    """On the organization, its project, the key and the key's owner, through the admin API."""
    headers = {"authorization": f"Bearer {account.admin_key}"}
    with httpx2.Client(base_url=f"{org_service_url}/v1/organization", headers=headers) as client:
        project = f"/projects/{account.project_id}"
        users = [f"/users/{user['id']}" for user in listed(client, "/users")]
        keys = [f"{project}/api_keys/{key['id']}" for key in listed(client, f"{project}/api_keys")]
        for level in ("", project, *users, *keys):
            client.post(f"{level}/limits", json=LIMITS).raise_for_status()


def listed(client: httpx2.Client, path: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = client.get(path).raise_for_status().json()["data"]
    return found

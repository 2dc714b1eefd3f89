"""The catalog as its operator sees it."""

from __future__ import annotations

import time
from typing import Any

import httpx2
import pytest

from contracts.catalog import Catalog
from tests.org_service.conftest import Running

BASE = "/v1/organization"
RATES = {"input_nano_usd_per_million": 10**8, "output_nano_usd_per_million": 4 * 10**8}


async def put(http: httpx2.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    reply = await http.post(f"{BASE}{path}", json=body)
    assert reply.status_code == 200, reply.text
    made: dict[str, Any] = reply.json()
    return made


async def catalog_of(org: Running) -> Catalog:
    async with org.internal() as client:
        return Catalog.model_validate((await client.get("/internal/v1/catalog")).json())


async def test_a_model_with_alias_upstream_and_price_is_in_the_snapshot(org: Running) -> None:
    async with org.http() as http:
        await put(http, "/models", {"id": "org/tern-2b", "context_window_tokens": 8192, "max_output_tokens": 2048})
        await put(http, "/aliases", {"id": "small", "model": "org/tern-2b"})
        body = {"model": "org/tern-2b", "base_url": "http://gpu:8000/v1/", "weight": 3, "api_key": "canary"}
        upstream = await put(http, "/upstreams", body)
        await put(http, "/prices", {"model": "org/tern-2b", **RATES})
        assert (await http.get(f"{BASE}/models/org/tern-2b")).json()["id"] == "org/tern-2b"
        assert "canary" not in (await http.get(f"{BASE}/upstreams/{upstream['id']}")).text
    catalog = await catalog_of(org)
    assert catalog.version > 0
    assert catalog.aliases == {"small": "org/tern-2b"}
    assert catalog.upstreams[0].base_url == "http://gpu:8000/v1"
    assert (catalog.upstreams[0].weight, catalog.upstreams[0].api_key) == (3, "canary")
    assert len(catalog.models[0].prices) == 1


async def test_prices_are_added_and_never_rewritten(org: Running) -> None:
    async with org.http() as http:
        await put(http, "/models", {"id": "m"})
        now = int(time.time())
        await put(http, "/prices", {"model": "m", "effective_from": now - 1000, **RATES})
        await put(http, "/prices", {"model": "m", "effective_from": now + 1000, **RATES})
        past = await http.post(f"{BASE}/prices", json={"model": "m", "effective_from": now - 10, **RATES})
        assert (past.status_code, past.json()["error"]["param"]) == (400, "effective_from")
        again = await http.post(f"{BASE}/prices", json={"model": "m", "effective_from": now + 1000, **RATES})
        assert again.status_code == 409
        assert again.headers["x-should-retry"] == "false"
        price_id = (await http.get(f"{BASE}/prices")).json()["data"][0]["id"]
        assert (await http.post(f"{BASE}/prices/{price_id}", json=RATES)).status_code == 405
        assert (await http.delete(f"{BASE}/prices/{price_id}")).status_code == 405
    assert len((await catalog_of(org)).models[0].prices) == 2


async def test_names_do_not_collide(org: Running) -> None:
    async with org.http() as http:
        await put(http, "/models", {"id": "m"})
        await put(http, "/aliases", {"id": "a", "model": "m"})
        for path, body in (
            ("/models", {"id": "m"}),
            ("/models", {"id": "a"}),
            ("/aliases", {"id": "m", "model": "m"}),
        ):
            assert (await http.post(f"{BASE}{path}", json=body)).status_code == 409
        assert (await http.post(f"{BASE}/aliases", json={"id": "b", "model": "nobody"})).status_code == 404


async def test_a_retired_model_takes_its_names_and_servers_along_and_may_return(org: Running) -> None:
    async with org.http() as http:
        await put(http, "/models", {"id": "m"})
        await put(http, "/aliases", {"id": "a", "model": "m"})
        await put(http, "/upstreams", {"model": "m", "base_url": "http://gpu/v1"})
        await put(http, "/prices", {"model": "m", **RATES})
        assert (await http.delete(f"{BASE}/models/m")).status_code == 200
        empty = await catalog_of(org)
        assert (empty.models, empty.aliases, empty.upstreams) == ((), {}, ())
        await put(http, "/models", {"id": "m"})
    assert len((await catalog_of(org)).models[0].prices) == 1


@pytest.mark.parametrize("base_url", ["http://gpu:8000/v1", "https://gpu.example/proxy/v1"])
async def test_an_upstream_is_changed_part_by_part(org: Running, base_url: str) -> None:
    async with org.http() as http:
        await put(http, "/models", {"id": "m"})
        made = await put(http, "/upstreams", {"model": "m", "base_url": base_url, "api_key": "k"})
        path = f"/upstreams/{made['id']}"
        assert (await put(http, path, {"weight": 0}))["has_api_key"]
        changed = await put(http, path, {"capabilities": {"continuous_usage": True}, "api_key": None})
        assert (changed["weight"], changed["has_api_key"]) == (0, False)
        assert changed["capabilities"]["continuous_usage"]
        assert (await http.delete(f"{BASE}{path}")).json()["deleted"]
        assert (await http.get(f"{BASE}{path}")).status_code == 404

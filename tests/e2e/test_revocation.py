"""A revoked key is refused by every router process within a second."""

from __future__ import annotations

import asyncio
import time

import httpx2
from openai import OpenAI

from tests.e2e.product import Product
from tests.fakes.upstream import FakeUpstream

ROUNDS = 10
QUESTION = [{"role": "user", "content": "say something"}]


async def test_a_revoked_key_is_refused_everywhere_within_a_second(
    product: Product, upstream: FakeUpstream
) -> None:
    delays = [await revoke_once(product) for _ in range(ROUNDS)]
    slowest = sorted(max(pair) for pair in delays)
    median_ms, worst_ms = slowest[ROUNDS // 2] * 1000, slowest[-1] * 1000
    print(
        f"\n{ROUNDS} revocations, {len(product.routers)} routers: median {median_ms:.0f}, worst {worst_ms:.0f} ms"
    )
    assert slowest[-1] < 1.0


async def test_a_running_stream_of_a_revoked_key_ends(product: Product, upstream: FakeUpstream) -> None:
    with OpenAI(base_url=f"{product.org_url}/v1", admin_api_key=product.admin_key, api_key="") as admin:
        keys = admin.admin.organization.projects
        account = keys.service_accounts.create(product.project_id, name="short-lived")
        assert account.api_key is not None
        body = {"model": "tokens-400+pace-5", "messages": QUESTION, "stream": True}
        headers = {"authorization": f"Bearer {account.api_key.value}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=30) as client,
            client.stream("POST", f"{product.routers[0]}/v1/chat/completions", json=body) as reply,
        ):
            lines = reply.aiter_lines()
            await anext(lines)
            await asyncio.to_thread(keys.api_keys.delete, account.api_key.id, project_id=product.project_id)
            rest = [line async for line in lines]
    assert sum(call.tokens_sent for call in upstream.calls) < 400
    assert any('"error"' in line for line in rest)
    assert [line for line in rest if line][-1] == "data: [DONE]"


async def revoke_once(product: Product) -> list[float]:
    """Seconds until each router refused, counted from the answer of the deletion."""
    with OpenAI(base_url=f"{product.org_url}/v1", admin_api_key=product.admin_key, api_key="") as admin:
        projects = admin.admin.organization.projects
        account = projects.service_accounts.create(product.project_id, name="short-lived")
        assert account.api_key is not None
        headers = {"authorization": f"Bearer {account.api_key.value}"}
        body = {"model": "tokens-8", "messages": QUESTION}
        async with httpx2.AsyncClient(headers=headers, timeout=30) as client:
            for url in product.routers:
                assert (await client.post(f"{url}/v1/chat/completions", json=body)).status_code == 200
            await asyncio.to_thread(projects.api_keys.delete, account.api_key.id, project_id=product.project_id)
            revoked_at = time.monotonic()
            return await asyncio.gather(*(refused_after(client, url, body, revoked_at) for url in product.routers))


async def refused_after(client: httpx2.AsyncClient, url: str, body: dict[str, object], revoked_at: float) -> float:
    while True:
        reply = await client.post(f"{url}/v1/chat/completions", json=body)
        if reply.status_code == 401:
            return time.monotonic() - revoked_at
        assert reply.status_code == 200
        assert time.monotonic() - revoked_at < 10

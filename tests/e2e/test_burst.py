"""1,000 calls at once against a budget that admits some: the bound holds exactly and nothing is left behind."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import httpx2
from openai import OpenAI

from contracts.pricing import Tokens, cost_nano_usd, upper_bound_nano_usd
from tests.e2e.product import PRICE, Product
from tests.e2e.watching import at_rest
from tests.fakes.generation import PROMPT_TOKENS
from tests.fakes.upstream import FakeUpstream

CALLS = 1000
MAX_TOKENS = 1000
LIMIT_CENTS = 1
NANO_USD_PER_CENT = 10_000_000


async def test_a_burst_never_overspends_a_budget(product: Product, upstream: FakeUpstream) -> None:
    with OpenAI(base_url=f"{product.org_url}/v1", admin_api_key=product.admin_key, api_key="") as admin:
        organization = admin.admin.organization
        project = organization.projects.create(name="Burst")
        account = organization.projects.service_accounts.create(project.id, name="crowd")
        organization.projects.spend_limit.update(
            project.id, threshold_amount=LIMIT_CENTS, currency="USD", interval="month"
        )
    assert account.api_key is not None
    body = {
        "model": "tokens-8", "max_tokens": MAX_TOKENS,
        "messages": [{"role": "user", "content": "say something"}],
    }  # fmt: skip
    before = await at_rest(product)
    answers = await burst(product, account.api_key.value, body)
    spent = await at_rest(product) - before
    outcomes = Counter(answers)
    admitted = outcomes[200]
    print(
        f"\n{CALLS} calls at once: {dict(outcomes)}; spent {spent} of {LIMIT_CENTS * NANO_USD_PER_CENT} nano-USD"
    )
    each = cost_nano_usd(Tokens(input=PROMPT_TOKENS, output=8), PRICE)
    assert set(outcomes) == {200, 429}
    assert spent == admitted * each == len(upstream.calls) * each
    # Every call holds its worst case while it runs, so fewer are admitted than the money would pay for,
    # and never so many that all worst cases together exceed the limit plus what settled calls gave back.
    assert spent <= LIMIT_CENTS * NANO_USD_PER_CENT
    worst = upper_bound_nano_usd(PROMPT_TOKENS, MAX_TOKENS, PRICE)
    assert admitted >= LIMIT_CENTS * NANO_USD_PER_CENT // (2 * worst)


async def burst(product: Product, key: str, body: dict[str, object]) -> list[int]:
    """The statuses of CALLS calls, sent at once over both routers."""
    limits = httpx2.Limits(max_connections=CALLS)
    headers = {"authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(headers=headers, limits=limits, timeout=120) as client:
        await settled_grant(client, product, body)
        urls = [f"{product.routers[index % 2]}/v1/chat/completions" for index in range(CALLS)]
        replies = await asyncio.gather(*(client.post(url, json=body) for url in urls))
    for reply in replies:
        if reply.status_code == 429:
            assert reply.json()["error"]["code"] == "project_spend_limit_exceeded"
            assert reply.headers["x-should-retry"] == "false"
    return [reply.status_code for reply in replies]


async def settled_grant(client: httpx2.AsyncClient, product: Product, body: dict[str, object]) -> None:
    """Until every router knows the new limit: a call that exceeds it alone is refused."""
    absurd = body | {"max_tokens": 4096, "n": 100}
    give_up_at = time.monotonic() + 2
    for url in product.routers:
        while (await client.post(f"{url}/v1/chat/completions", json=absurd)).status_code != 429:
            assert time.monotonic() < give_up_at

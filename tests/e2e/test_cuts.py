"""2,000 streams cut at random moments: metered is what the upstream sent, and the upstream stops at once."""

from __future__ import annotations

import asyncio
import random
import time

import httpx2

from contracts.pricing import Tokens, cost_nano_usd
from tests.e2e.product import PRICE, Product
from tests.e2e.watching import at_rest
from tests.fakes.generation import PROMPT_TOKENS
from tests.fakes.upstream import FakeUpstream

CUTS = 2000
AT_ONCE = 40
MODEL = "tokens-200+pace-2"
LONGEST_SECONDS = 0.45
STOP_SECONDS = 1.0


async def test_a_cut_stream_is_metered_to_the_token(product: Product, upstream: FakeUpstream) -> None:
    await at_rest(product)
    before = product.analytics_rows("coalesce(sum(output_tokens), 0), coalesce(sum(cost_nano_usd), 0), count(*)")
    slowest_stop = await cut_all(product, upstream)
    await at_rest(product)
    after = product.analytics_rows("coalesce(sum(output_tokens), 0), coalesce(sum(cost_nano_usd), 0), count(*)")
    metered, cost, events = (after[index] - before[index] for index in range(3))
    sent = upstream.tokens_sent
    cut = sum(call.cancelled for call in upstream.calls)
    print(
        f"\n{CUTS} streams, {cut} cut at the upstream: sent {sent}, metered {metered}, ratio {metered / sent:.6f}"
    )
    print(f"{events} events; slowest upstream stop {slowest_stop * 1000:.0f} ms")
    assert metered == sent
    # A stream that was cut before its first token owes the prompt once the upstream has said that it read it.
    assert sum(call.tokens_sent > 0 for call in upstream.calls) <= events <= len(upstream.calls)
    assert cost == cost_nano_usd(Tokens(input=events * PROMPT_TOKENS, output=sent), PRICE)
    assert cut > CUTS // 2
    assert slowest_stop < STOP_SECONDS


async def cut_all(product: Product, upstream: FakeUpstream) -> float:
    """Seconds from the last cut of a batch until the upstream had stopped, in the worst case."""
    dice, slowest = random.Random(7), 0.0
    headers = {"authorization": f"Bearer {product.api_key}"}
    limits = httpx2.Limits(max_connections=AT_ONCE, max_keepalive_connections=0)
    async with httpx2.AsyncClient(headers=headers, limits=limits, timeout=30) as client:
        for _ in range(CUTS // AT_ONCE):
            moments = [dice.uniform(0, LONGEST_SECONDS) for _ in range(AT_ONCE)]
            urls = [dice.choice(product.routers) for _ in moments]
            await asyncio.gather(*(cut_one(client, *pair) for pair in zip(urls, moments, strict=True)))
            cut_at = time.monotonic()
            while upstream.open_calls:
                await asyncio.sleep(0.005)
                assert time.monotonic() - cut_at < 10 * STOP_SECONDS
            slowest = max(slowest, time.monotonic() - cut_at)
    return slowest


async def cut_one(client: httpx2.AsyncClient, url: str, after_seconds: float) -> None:
    body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "go on"}]}
    try:
        async with asyncio.timeout(after_seconds):
            async with client.stream("POST", f"{url}/v1/chat/completions", json=body) as reply:
                async for _ in reply.aiter_raw():
                    pass
    except TimeoutError:
        pass

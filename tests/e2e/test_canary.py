"""A text sent as a prompt is found in no database, stream, queue, log or trace."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import httpx2
import psycopg
from openai import OpenAI

from tests.e2e.collector import Collector
from tests.e2e.product import Product
from tests.e2e.watching import at_rest
from tests.fakes.upstream import FakeUpstream

TRACE_EXPORT_SECONDS = 15.0


def bodies_with(text: str) -> dict[str, list[tuple[str, object]]]:
    """Calls of every kind that carry the text, well-formed, refused and broken."""
    chat = {"model": "tokens-8", "messages": [{"role": "user", "content": text}]}
    return {
        "well-formed": [
            ("chat/completions", chat),
            ("chat/completions", chat | {"stream": True}),
            ("completions", {"model": "tokens-8", "prompt": text}),
            ("embeddings", {"model": "tokens-8", "input": text}),
            ("responses", {"model": "tokens-8", "input": text}),
        ],
        "refused": [
            ("chat/completions", chat | {"model": f"no-such-{text}"}),
            ("chat/completions", chat | {"max_tokens": text}),
            ("chat/completions", chat | {"model": "status-400"}),
            ("chat/completions", chat | {"model": "status-500"}),
            ("chat/completions", chat | {"model": "garbage-after-2", "stream": True}),
            ("chat/completions", f'{{"model": "tokens-8", "messages": [{{"role": "user", "content": "{text}"'),
            (f"no/such/endpoint?question={text}", {}),
        ],
    }


async def test_a_prompt_is_found_nowhere(product: Product, upstream: FakeUpstream, collector: Collector) -> None:
    canary, sign = f"canary{uuid.uuid4().hex}", f"sign{uuid.uuid4().hex}"
    headers = {"authorization": f"Bearer {product.api_key}", "content-type": "application/json"}
    async with httpx2.AsyncClient(headers=headers, timeout=30) as client:
        for url in product.routers:
            for path, body in [call for calls in bodies_with(canary).values() for call in calls]:
                content = {"content": body.encode()} if isinstance(body, str) else {"json": body}
                await client.post(f"{url}/v1/{path}", **content)  # type: ignore[arg-type]
            await cut(client, url, canary)
    assert any(canary in str(call.body) for call in upstream.calls)
    with OpenAI(base_url=f"{product.org_url}/v1", admin_api_key=product.admin_key, api_key="") as admin:
        admin.admin.organization.projects.create(name=sign)
    await at_rest(product)
    event_id = await last_event_id(product)
    await traced(collector, b"/v1/embeddings")
    flush(product)
    # What must be found, is: the search can fail.
    assert {path.name for path in files_with(product, sign)} != set()
    assert {"redis", "rabbitmq"} <= {part_of(product, path) for path in files_with(product, event_id)}
    assert files_with(product, canary) == []
    assert not [body for body in collector.bodies if canary.encode() in body]


async def cut(client: httpx2.AsyncClient, url: str, text: str) -> None:
    body = {"model": "tokens-200+pace-2", "stream": True, "messages": [{"role": "user", "content": text}]}
    async with client.stream("POST", f"{url}/v1/chat/completions", json=body) as reply:
        async for _ in reply.aiter_raw():
            break


async def last_event_id(product: Product) -> str:
    """The newest event: it has been in the outbox, the queue and the database."""
    (event_id,) = product.analytics_rows("(array_agg(event_id ORDER BY occurred_at DESC))[1]")
    return str(event_id)


async def traced(collector: Collector, text: bytes) -> None:
    async with asyncio.timeout(TRACE_EXPORT_SECONDS):
        while not any(text in body for body in collector.bodies):  # noqa: ASYNC110 - exports have no event
            await asyncio.sleep(0.1)


def flush(product: Product) -> None:
    """PostgreSQL writes what it still holds in memory."""
    with psycopg.connect(product.servers.database_url("postgres"), autocommit=True) as connection:
        connection.execute("CHECKPOINT")


def files_with(product: Product, text: str) -> list[Path]:
    """Every file under the deployment that holds the text: data and logs of all servers, spools, service logs."""
    files = [path for path in product.servers.directory.rglob("*") if path.is_file()]
    return [path for path in files if text.encode() in path.read_bytes()]


def part_of(product: Product, path: Path) -> str:
    return path.relative_to(product.servers.directory).parts[0]

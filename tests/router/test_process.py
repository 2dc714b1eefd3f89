"""`python -m router` as a process with its real adapters: it starts, serves, and leaves no stream unfinished."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis.asyncio

from contracts.catalog import Catalog
from contracts.grant import Resolution
from tern.stack.process import Part, free_port, spawn
from tests.fakes.directory import KeysOfTheTest, MemoryCatalog
from tests.fakes.serving import served
from tests.fakes.upstream import FakeUpstream
from tests.router.conftest import MESSAGES
from tests.router.test_upstream_faults import frames

ROOT = Path(__file__).parents[2]
GRACE_SECONDS = 6


@dataclass
class FakeOrg:
    """Answers what the router asks org_service."""

    directory: KeysOfTheTest
    catalog: MemoryCatalog

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        answer: Catalog | Resolution = self.catalog.snapshot()
        if scope["method"] == "POST":
            found = await self.directory.find(json.loads((await receive())["body"])["key_hash"])
            answer = Resolution(refusal=found) if isinstance(found, str) else Resolution(grant=found)
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer.model_dump_json().encode()})


@dataclass
class Running:
    url: str
    part: Part
    key: str
    upstream: FakeUpstream

    def request(self, model: str, stream: bool) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self.key}"}
        return {"json": {"model": model, "messages": MESSAGES, "stream": stream}, "headers": headers}


@pytest.fixture
async def running(
    tmp_path: Path, redis_server_url: str, redis_client: redis.asyncio.Redis
) -> AsyncIterator[Running]:
    upstream, directory, port = FakeUpstream(), KeysOfTheTest(), free_port()
    async with served(upstream, lifespan=False) as (upstream_url, _):
        catalog = MemoryCatalog([f"{upstream_url}/v1"])
        for traits in ("tokens-3", "tokens-60+pace-30", "tokens-500+pace-50"):
            catalog.add(traits, name=traits, max_output_tokens=600)
        async with served(FakeOrg(directory, catalog), lifespan=False) as (org_url, _):
            environment = {
                "PATH": os.environ["PATH"],
                "TERN_ROUTER_LISTEN_PORT": str(port),
                "TERN_ROUTER_REDIS_URL": redis_server_url,
                "TERN_ROUTER_ORG_SERVICE_URL": org_url,
                "TERN_ROUTER_SERVICE_TOKEN": "token",
                "TERN_ROUTER_DRAIN_SECONDS": "1",
                "TERN_ROUTER_GRACE_SECONDS": str(GRACE_SECONDS),
                "TERN_ROUTER_SPOOL_DIRECTORY": str(tmp_path / "spool"),
            }
            part = spawn("router", [sys.executable, "-m", "router"], tmp_path, env=environment, run_in=ROOT)
            url = f"http://127.0.0.1:{port}"
            try:
                await ready(url, part)
                yield Running(url, part, directory.issue(), upstream)
            finally:
                part.kill()


async def ready(url: str, part: Part) -> None:
    async with httpx2.AsyncClient() as http, asyncio.timeout(20):
        while True:
            try:
                if (await http.get(f"{url}/ready")).status_code == 200:
                    return
            except httpx2.TransportError:
                assert part.process.poll() is None, part.log_tail()
            await asyncio.sleep(0.05)


async def exit_code(part: Part) -> int:
    async with asyncio.timeout(GRACE_SECONDS + 10):
        while part.process.poll() is None:  # noqa: ASYNC110 - a process has no event
            await asyncio.sleep(0.02)
    return part.process.returncode


async def test_it_serves_and_the_ledger_is_in_redis(running: Running, redis_client: redis.asyncio.Redis) -> None:
    async with httpx2.AsyncClient(base_url=running.url) as http:
        reply = await http.post("/v1/chat/completions", **running.request("tokens-3", stream=False))
    assert reply.json()["usage"]["completion_tokens"] == 3
    outboxes = [key async for key in redis_client.scan_iter("tern:*:outbox")]
    assert [await redis_client.xlen(key) for key in outboxes] == [1]


async def test_a_terminated_router_drops_no_stream_and_takes_no_new_call(running: Running) -> None:
    async with httpx2.AsyncClient(base_url=running.url, timeout=20) as http:
        request = running.request("tokens-60+pace-30", stream=True)
        text = ""
        async with http.stream("POST", "/v1/chat/completions", **request) as stream:
            async for piece in stream.aiter_text():
                if not text:
                    running.part.process.send_signal(signal.SIGTERM)
                    await asyncio.sleep(0.05)
                    assert (await http.get("/ready")).status_code == 503
                text += piece
    assert text.count("word") == 60
    assert frames(text)[-1] == "[DONE]"
    assert await exit_code(running.part) == 0


async def test_what_outlives_the_grace_time_is_ended_well_formed(running: Running) -> None:
    async with httpx2.AsyncClient(base_url=running.url, timeout=30) as http:
        request = running.request("tokens-500+pace-50", stream=True)
        text = ""
        async with http.stream("POST", "/v1/chat/completions", **request) as stream:
            async for piece in stream.aiter_text():
                if not text:
                    running.part.process.send_signal(signal.SIGTERM)
                text += piece
    *_, error, done = frames(text)
    assert (error["error"]["code"], done) == ("server_is_overloaded", "[DONE]")
    assert await exit_code(running.part) == 0

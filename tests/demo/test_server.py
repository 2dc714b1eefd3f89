"""The server as a process, and calls that share its steps."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2

from tests.demo.reading import metric, until

ROOT = Path(__file__).parents[2]
STORY: dict[str, Any] = {"messages": [{"role": "user", "content": "Tell me a story about a cat."}], "seed": 5}


def start_and_fail(*arguments: str) -> str:
    command = [sys.executable, "-m", "tern.demo.server", *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    return ended.stderr


def test_an_unusable_checkpoint_ends_the_start_with_one_sentence(tmp_path: Path) -> None:
    assert start_and_fail("--model", str(tmp_path)).startswith("tern demo backend: cannot read ")
    assert start_and_fail("--max-model-len", "99999").count("\n") == 1


async def test_a_seeded_answer_does_not_depend_on_its_neighbours(http: httpx2.AsyncClient) -> None:
    alone = (await http.post("/v1/chat/completions", json=STORY)).json()
    others = [
        {"prompt": "A gateway " * (5 * number), "max_tokens": 60, "ignore_eos": True} for number in range(1, 9)
    ]
    calls = [http.post("/v1/completions", json=other) for other in others]
    crowded, *_ = await asyncio.gather(http.post("/v1/chat/completions", json=STORY), *calls)
    assert crowded.json()["choices"] == alone["choices"]


async def test_calls_beyond_the_slots_wait_and_are_served(narrow_http: httpx2.AsyncClient) -> None:
    body = {"prompt": "The cat", "max_tokens": 50, "ignore_eos": True}
    calls = [asyncio.create_task(narrow_http.post("/v1/completions", json=body)) for _ in range(4)]

    async def is_queueing() -> bool:
        assert await metric(narrow_http, "vllm:num_requests_running") <= 1
        return await metric(narrow_http, "vllm:num_requests_waiting") > 0

    await until(is_queueing)
    replies = [reply.json() for reply in await asyncio.gather(*calls)]
    assert [reply["usage"]["completion_tokens"] for reply in replies] == [50] * 4

"""An OpenAI-compatible server without a model. The model name says how it behaves, and it counts what it served.

A name is a list of traits joined by `+`, e.g. `tokens-20+pace-10+no-usage`; unknown traits mean nothing:

    tokens-N      so many tokens per choice (8)          pace-MS        milliseconds before each token (0)
    first-MS      milliseconds before the first token    status-N       answers with this status
    hang          never answers                          hang-after-N   never goes on after N tokens
    cut-after-N   cuts the connection after N tokens     garbage        answers 200 with no JSON
    garbage-after-N   a frame that is no JSON            long-line      one frame of 50 MB
    error-after-N an error frame, as vLLM writes it      overflow       vLLM's context overflow
    no-usage      never reports usage                    no-continuous  reports usage only at the end
    fingerprint   has a system_fingerprint               no-responses   has no /v1/responses
    spaced        JSON with spaces, model after choices  no-done        ends without [DONE]
    no-length     answers chunked                        crlf           ends lines with CR LF

`python -m tests.fakes.upstream --port 9000` serves it alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from tests.fakes.generation import Generation, Reply, Served, Traits, vllm_error


@dataclass
class FakeUpstream:
    calls: list[Served] = field(default_factory=list)
    healthy: bool = True
    load: int | None = None
    fail_next: int = 0
    """So many calls to come are answered with status 500, whatever they ask for."""

    @property
    def open_calls(self) -> int:
        return sum(1 for call in self.calls if not call.ended)

    @property
    def tokens_sent(self) -> int:
        return sum(call.tokens_sent for call in self.calls)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        reply = Reply(send)
        if scope["method"] == "GET":
            await self._get(scope["path"], reply)
            return
        body = json.loads(await _body(receive) or b"{}")
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        served = Served(headers.get("x-request-id", ""), scope["path"], body, headers)
        self.calls.append(served)
        task = asyncio.ensure_future(self._serve(served, reply))
        watch = asyncio.ensure_future(_disconnected(receive))
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        served.cancelled = not task.done()
        task.cancel()
        watch.cancel()
        results = await asyncio.gather(task, watch, return_exceptions=True)
        served.ended = True
        if isinstance(results[0], Exception):
            raise results[0]

    async def _get(self, path: str, reply: Reply) -> None:
        if path == "/health":
            return await reply.json(200 if self.healthy else 503, {})
        if path == "/load" and self.load is not None:
            return await reply.json(200, {"server_load": self.load})
        return await reply.json(404, {"detail": "Not Found"})

    async def _serve(self, served: Served, reply: Reply) -> None:
        model = str(served.body.get("model"))
        traits = Traits(model)
        if self.fail_next > 0:
            self.fail_next -= 1
            return await reply.json(500, vllm_error(500, "injected", "InternalServerError"))
        if "hang" in traits:
            await asyncio.sleep(3600)
        if "overflow" in traits:
            text = "This model's maximum context length is 16 tokens. However, your prompt contains 99."
            return await reply.json(400, vllm_error(400, text, "BadRequestError"))
        if (status := traits.number("status")) is not None:
            return await reply.json(status, vllm_error(status, f"status {status}", "SomeError"))
        if served.path == "/v1/responses" and "no-responses" in traits:
            return await reply.json(404, {"detail": "Not Found"})
        generation = Generation(served, traits, reply)
        return await (generation.stream() if served.body.get("stream") else generation.whole())


async def _body(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def _disconnected(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description="An OpenAI-compatible server without a model.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000)
    arguments = parser.parse_args()
    uvicorn.run(FakeUpstream(), host=arguments.host, port=arguments.port, access_log=False, lifespan="off")


if __name__ == "__main__":
    main()

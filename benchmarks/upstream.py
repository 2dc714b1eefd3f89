"""A model server that costs next to nothing: what a gateway adds is what remains to be measured.

It speaks as much of vLLM's OpenAI-compatible wire format as gateways ask for: chat completions with usage, paced
server-sent events with `include_usage` and `continuous_usage_stats`, models, health and load metrics. Replies
are rendered once per shape and written as bytes; a request costs one small JSON parse.

Run by hand: `python -m benchmarks.upstream --port 9000`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, cast

import httptools
import typer
import uvloop

WORD = " lark"
"""The one token this server ever says; the load generator counts it."""

MODEL = "bench"
PROMPT_TOKENS = 16
MAX_TOKENS = 4096
ENDED = b"0\r\n\r\n"


@dataclass
class Served:
    """What this server handed out, so that a run can be checked from the other end."""

    unary: int = 0
    streams: int = 0
    cut: int = 0
    tokens: int = 0
    running: int = 0

    def render(self) -> str:
        """Prometheus text with the names a router reads from vLLM."""
        label = f'{{model_name="{MODEL}",engine="0"}}'
        rows = {
            "vllm:num_requests_running": self.running,
            "vllm:num_requests_waiting": 0,
            "vllm:kv_cache_usage_perc": 0,
            "vllm:generation_tokens_total": self.tokens,
            "stub:unary_total": self.unary,
            "stub:streams_total": self.streams,
            "stub:cut_total": self.cut,
        }
        return "".join(f"{name}{label} {value}\n" for name, value in rows.items())


@dataclass(frozen=True)
class Shape:
    """The part of a chat request that decides the reply."""

    model: str
    tokens: int
    stream: bool
    include_usage: bool
    continuous_usage: bool


def read_shape(body: bytes) -> Shape:
    """Raises ValueError when the body is no JSON object."""
    asked = json.loads(body)
    if not isinstance(asked, dict):
        raise ValueError("the body is not an object")
    options = asked.get("stream_options") or {}
    wanted = asked.get("max_tokens") or asked.get("max_completion_tokens") or 16
    return Shape(
        model=str(asked.get("model", MODEL)),
        tokens=min(int(wanted), MAX_TOKENS),
        stream=bool(asked.get("stream")),
        include_usage=bool(options.get("include_usage")),
        continuous_usage=bool(options.get("include_usage") and options.get("continuous_usage_stats")),
    )


def usage(completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "total_tokens": PROMPT_TOKENS + completion_tokens,
        "completion_tokens": completion_tokens,
    }


def http_response(status: str, body: bytes, content_type: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


@lru_cache(maxsize=64)
def unary_reply(model: str, tokens: int) -> bytes:
    message = {"role": "assistant", "content": WORD * tokens}
    reply = {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "length"}],
        "usage": usage(tokens),
    }
    return http_response("200 OK", json.dumps(reply, separators=(",", ":")).encode())


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(shape: Shape, choices: Sequence[dict[str, Any]], counted: int | None) -> bytes:
    chunk: dict[str, Any] = {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": shape.model,
        "choices": choices,
    }
    if counted is not None:
        chunk["usage"] = usage(counted)
    return chunked(b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n")


def choice(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


@lru_cache(maxsize=64)
def stream_steps(shape: Shape) -> tuple[bytes, ...]:
    """One entry per beat: each carries one token; the first also opens the stream, the last also ends it."""

    def running(count: int) -> int | None:
        return count if shape.continuous_usage else None

    steps = [
        event(shape, [choice({"content": WORD}, "length" if n == shape.tokens else None)], running(n))
        for n in range(1, shape.tokens + 1)
    ]
    opening = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    steps[0] = opening + event(shape, [choice({"role": "assistant", "content": ""})], running(0)) + steps[0]
    if shape.include_usage:
        steps[-1] += event(shape, [], shape.tokens)
    steps[-1] += chunked(b"data: [DONE]\n\n") + ENDED
    return tuple(steps)


class ModelServer(asyncio.Protocol):
    """One connection. Beats keep to the clock of the stream's start, so pacing does not drift under load."""

    def __init__(self, served: Served, pace_seconds: float) -> None:
        self._served = served
        self._pace_seconds = pace_seconds
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._beat: asyncio.TimerHandle | None = None
        self._url = b""
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None
            self._served.running -= 1
            self._served.cut += 1

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if self._transport is not None:
                self._transport.close()

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        body, self._body = self._body, b""
        path = self._url.partition(b"?")[0]
        if path == b"/v1/chat/completions":
            self._chat(body)
        else:
            self._write(self._page(path))

    def _chat(self, body: bytes) -> None:
        try:
            shape = read_shape(body)
        except ValueError as refusal:
            self._write(bad_request(str(refusal)))
            return
        if shape.stream:
            self._served.running += 1
            self._step(stream_steps(shape), 0, self._loop.time())
            return
        self._served.unary += 1
        self._served.tokens += shape.tokens
        self._write(unary_reply(shape.model, shape.tokens))

    def _step(self, steps: tuple[bytes, ...], position: int, started_at: float) -> None:
        self._beat = None
        self._served.tokens += 1
        self._write(steps[position])
        if (following := position + 1) == len(steps):
            self._served.running -= 1
            self._served.streams += 1
            return
        due = started_at + following * self._pace_seconds
        self._beat = self._loop.call_at(due, self._step, steps, following, started_at)

    def _page(self, path: bytes) -> bytes:
        match path:
            case b"/health":
                return http_response("200 OK", b"")
            case b"/metrics":
                return http_response("200 OK", self._served.render().encode(), "text/plain; version=0.0.4")
            case b"/v1/models":
                card = {"id": MODEL, "object": "model", "created": 1_700_000_000, "owned_by": "bench"}
                return http_response("200 OK", json.dumps({"object": "list", "data": [card]}).encode())
            case _:
                return http_response("404 Not Found", b'{"detail":"Not Found"}')

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


def bad_request(message: str) -> bytes:
    error = {"message": message, "type": "BadRequestError", "param": None, "code": 400}
    return http_response("400 Bad Request", json.dumps({"error": error}).encode())


async def serve(port: int, pace_seconds: float) -> asyncio.Server:
    """Listens on 127.0.0.1; port 0 takes a free one."""
    served = Served()
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: ModelServer(served, pace_seconds), "127.0.0.1", port)


def main(port: Annotated[int, typer.Option()] = 0, pace_milliseconds: float = 10.0) -> None:
    """Serve until the process is stopped."""

    async def run() -> None:
        server = await serve(port, pace_milliseconds / 1000)
        await server.serve_forever()

    uvloop.run(run())


if __name__ == "__main__":
    typer.run(main)

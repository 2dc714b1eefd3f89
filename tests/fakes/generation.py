"""What the fake upstream writes: whole answers and streams of all four operations, and every way to break them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

WORD = "word "
PROMPT_TOKENS = 7
FINGERPRINT = "fp_fake"
CREATED_AT = 1_700_000_000


@dataclass
class Served:
    """What one call got. `tokens_sent` counts over all choices, once handed to the socket."""

    request_id: str
    path: str
    body: dict[str, Any]
    headers: dict[str, str]
    tokens_sent: int = 0
    cancelled: bool = False
    ended: bool = False


class Traits:
    def __init__(self, model: str) -> None:
        self._traits = model.split("+")

    def __contains__(self, name: str) -> bool:
        return name in self._traits

    def number(self, name: str) -> int | None:
        for trait in self._traits:
            if match := re.fullmatch(rf"{name}-(\d+)", trait):
                return int(match[1])
        return None


class ConnectionCut(Exception):  # noqa: N818
    """Makes the server close the connection without ending the body."""


class Generation:
    def __init__(self, served: Served, traits: Traits, reply: Reply) -> None:
        self._served = served
        self._traits = traits
        self._reply = reply
        self._path = served.path.removeprefix("/v1/")
        body = served.body
        limits = [body.get(name) for name in ("max_completion_tokens", "max_tokens", "max_output_tokens")]
        most = next((limit for limit in limits if limit), 10**9)
        self._tokens = min(traits.number("tokens") or 8, most)
        prompt = body.get("prompt")
        self._prompts = len(prompt) if isinstance(prompt, list) else 1
        self._choices = (body.get("n") or 1) * self._prompts
        options = body.get("stream_options") or {}
        self._include = bool(options.get("include_usage")) and "no-usage" not in traits
        self._continuous = bool(options.get("continuous_usage_stats")) and self._include
        self._continuous = self._continuous and "no-continuous" not in traits

    async def whole(self) -> None:
        await self._pause("first")
        for _ in range(self._tokens if "pace" in "".join(self._served.body["model"]) else 0):
            await self._pause("pace")
        if (cut := self._traits.number("cut-after")) is not None:
            await self._reply.start(200, "application/json", 1000)
            await self._reply.body(b"{" * cut)
            raise ConnectionCut
        if "garbage" in self._traits:
            return await self._reply.raw(b"<html>not json", "application/json")
        self._served.tokens_sent = 0 if self._path == "embeddings" else self._tokens * self._choices
        content = json.dumps(self._answer()).encode()
        if "no-length" in self._traits:
            await self._reply.start(200, "application/json")
            for at in range(0, len(content), 20):
                await self._reply.body(content[at : at + 20])
            return await self._reply.end()
        return await self._reply.raw(content, "application/json")

    def _answer(self) -> dict[str, Any]:
        text = WORD * self._tokens
        match self._path:
            case "embeddings":
                head = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -0.25]}]}
                usage = {"prompt_tokens": PROMPT_TOKENS, "total_tokens": PROMPT_TOKENS}
            case "responses":
                head, usage = self._response("completed"), {}
            case "completions":
                choices = [self._choice(at, {"text": text}) for at in range(self._choices)]
                head = self._head() | {"choices": choices}
                usage = self._usage(self._tokens * self._choices)
            case _:
                message = {"message": {"role": "assistant", "content": text}}
                head = self._head() | {"choices": [self._choice(at, message) for at in range(self._choices)]}
                usage = self._usage(self._tokens * self._choices)
        head["model"] = self._served.body["model"]
        return head if "no-usage" in self._traits or not usage else head | {"usage": usage}

    def _choice(self, index: int, content: dict[str, Any], finish: str | None = "stop") -> dict[str, Any]:
        return {"index": index, **content, "logprobs": None, "finish_reason": finish}

    def _usage(self, output: int, prompts: int | None = None) -> dict[str, Any]:
        read = PROMPT_TOKENS * (self._prompts if prompts is None else prompts)
        return {"prompt_tokens": read, "total_tokens": read + output, "completion_tokens": output}

    def _head(self) -> dict[str, Any]:
        kind = "text_completion" if self._path == "completions" else "chat.completion"
        chunk = ".chunk" if self._served.body.get("stream") and kind == "chat.completion" else ""
        head = {"id": "cmpl-fake", "object": kind + chunk, "created": CREATED_AT}
        return head | {"model": self._served.body["model"]}

    async def stream(self) -> None:
        if "garbage" in self._traits:
            await self._reply.raw(b"<html>not a stream", "text/html")
            return
        await self._pause("first")
        await self._reply.start(200, "text/event-stream; charset=utf-8")
        if "long-line" in self._traits:
            await self._long_line()
        async for frame, tokens in self._frames():
            await self._reply.body(frame)
            self._served.tokens_sent += tokens if self._reply.is_connected else 0
        await self._reply.end()

    async def _long_line(self) -> None:
        await self._reply.body(b'data: {"id":"')
        for _ in range(50):
            await self._reply.body(b"x" * 1024 * 1024)

    async def _frames(self) -> AsyncIterator[tuple[bytes, int]]:
        if self._path == "responses":
            async for pair in self._response_frames():
                yield pair
            return
        if self._path == "chat/completions":
            for at in range(self._choices):
                yield self._chunk(self._choice(at, {"delta": {"role": "assistant", "content": ""}}, None), 0), 0
        for token in range(1, self._tokens + 1):
            for at in range(self._choices):
                if (frame := await self._trouble(token)) is not None:
                    yield frame, 0
                await self._pause("pace")
                yield self._token_frame(at, token), 1
        if self._include:
            yield self._total_frame(), 0
        if "no-done" not in self._traits:
            yield self._framed(b"[DONE]"), 0

    def _token_frame(self, at: int, token: int) -> bytes:
        last = token == self._tokens
        content = {"text": WORD} if self._path == "completions" else {"delta": {"content": WORD}}
        return self._chunk(self._choice(at, content, "stop" if last else None), token, last)

    async def _trouble(self, token: int) -> bytes | None:
        """What happens before the given token instead of it, or a frame that comes between."""
        if token - 1 == self._traits.number("hang-after"):
            await asyncio.sleep(3600)
        if token - 1 == self._traits.number("cut-after"):
            raise ConnectionCut
        if token - 1 == self._traits.number("garbage-after"):
            return b"data: {not json\n\n"
        if token - 1 == self._traits.number("error-after"):
            return self._framed(json.dumps(vllm_error(500, "engine died", "InternalServerError")).encode())
        return None

    def _chunk(self, choice: dict[str, Any], so_far: int, last: bool = False) -> bytes:
        chunk = self._head() | {"choices": [choice]}
        if "fingerprint" in self._traits and last and not self._include:
            chunk["system_fingerprint"] = FINGERPRINT
        if self._continuous:
            chunk["usage"] = self._usage(so_far, prompts=1)
        elif self._include and "spaced" in self._traits:
            chunk["usage"] = None
        return self._rendered(chunk)

    def _total_frame(self) -> bytes:
        chunk = self._head() | {"choices": [], "usage": self._usage(self._tokens * self._choices)}
        if "fingerprint" in self._traits:
            chunk["system_fingerprint"] = FINGERPRINT
        return self._rendered(chunk)

    def _rendered(self, chunk: dict[str, Any]) -> bytes:
        if "spaced" not in self._traits:
            return self._framed(json.dumps(chunk, separators=(",", ":")).encode())
        chunk = {**{name: chunk[name] for name in ("id", "choices", "object", "created")}, **chunk}
        return self._framed(json.dumps(chunk).encode())

    def _framed(self, payload: bytes) -> bytes:
        return b"data: " + payload + (b"\r\n\r\n" if "crlf" in self._traits else b"\n\n")

    async def _response_frames(self) -> AsyncIterator[tuple[bytes, int]]:
        yield self._event(0, "response.created", {"response": self._response("in_progress")}), 0
        for token in range(1, self._tokens + 1):
            if (frame := await self._trouble(token)) is not None:
                yield frame, 0
            await self._pause("pace")
            where = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": WORD, "logprobs": []}
            yield self._event(token, "response.output_text.delta", where), 1
        yield self._event(self._tokens + 1, "response.completed", {"response": self._response("completed")}), 0

    def _event(self, number: int, kind: str, content: dict[str, Any]) -> bytes:
        data = json.dumps({"type": kind, "sequence_number": number, **content}, separators=(",", ":"))
        return f"event: {kind}\ndata: {data}\n\n".encode()

    def _response(self, status: str) -> dict[str, Any]:
        text = {"type": "output_text", "text": WORD * self._tokens, "annotations": []}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "status": status, "content": [text]}
        done = status == "completed"
        usage = {
            "input_tokens": PROMPT_TOKENS,
            "input_tokens_details": {"cached_tokens": 3},
            "output_tokens": self._tokens,
            "output_tokens_details": {"reasoning_tokens": 2},
            "total_tokens": PROMPT_TOKENS + self._tokens,
        }
        return {
            "id": "resp_1",
            "object": "response",
            "created_at": CREATED_AT,
            "status": status,
            "model": self._served.body["model"],
            "output": [message] if done else [],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": usage if done and "no-usage" not in self._traits else None,
        }

    async def _pause(self, trait: str) -> None:
        if (milliseconds := self._traits.number(trait)) is not None:
            await asyncio.sleep(milliseconds / 1000)


class Reply:
    def __init__(self, send: Any) -> None:
        self._send = send

    @property
    def is_connected(self) -> bool:
        """uvicorn drops what is written after a disconnect, without a word; its cycle knows."""
        return not getattr(getattr(self._send, "__self__", None), "disconnected", False)

    async def start(self, status: int, content_type: str, length: int | None = None) -> None:
        headers = [(b"content-type", content_type.encode())]
        headers += [] if length is None else [(b"content-length", b"%d" % length)]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def body(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def raw(self, content: bytes, content_type: str, status: int = 200) -> None:
        await self.start(status, content_type, len(content))
        await self._send({"type": "http.response.body", "body": content})

    async def json(self, status: int, content: Any) -> None:
        await self.raw(json.dumps(content).encode(), "application/json", status)


def vllm_error(status: int, message: str, kind: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}

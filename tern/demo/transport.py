"""The edge to HTTP: work that ends when its client is gone, event streams, and errors in one shape."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tern.demo.errors import ApiError, BadRequestError, InvalidBodyError, MethodNotAllowedError, NotFoundError

T = TypeVar("T")
BodyType = TypeVar("BodyType", bound=BaseModel)
_MAX_REPORTED_ERRORS = 5


async def read_body(request: Request, kind: type[BodyType]) -> BodyType:
    try:
        return kind.model_validate_json(await request.body())
    except ValidationError as fault:
        raise _refusal(fault) from fault


def _refusal(fault: ValidationError) -> InvalidBodyError:
    errors = fault.errors(include_url=False, include_input=False)
    lines = [f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in errors[:_MAX_REPORTED_ERRORS]]
    param = ".".join(map(str, errors[0]["loc"])) or None
    count = "1 validation error" if len(errors) == 1 else f"{len(errors)} validation errors"
    return InvalidBodyError(f"{count}:\n  " + "\n  ".join(lines), param)


def json_response(content: object, status: int = 200) -> Response:
    return Response(to_json(content), status, media_type="application/json")


def to_json(content: object) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


async def until_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T | None:
    """Runs the work; cancels it and gives None as soon as the client disconnects. The body must be read before."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnect(receive))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for future in (task, gone):
            future.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream(Response):
    """Server-sent events: each item one `data:` frame, `[DONE]` last; a late fault becomes an error frame."""

    def __init__(self, events: AsyncGenerator[object]) -> None:
        super().__init__(media_type="text/event-stream", headers={"cache-control": "no-cache"})
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await until_gone(receive, self._send_all(send))

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            async with aclosing(self._events) as events:
                async for event in events:
                    await self._frame(send, to_json(event))
        except ApiError as fault:
            await self._frame(send, to_json(fault.body()))
        await self._frame(send, b"[DONE]", more=False)

    async def _frame(self, send: Send, data: bytes, *, more: bool = True) -> None:
        await send({"type": "http.response.body", "body": b"data: " + data + b"\n\n", "more_body": more})


async def render_api_error(_: Request, fault: Exception) -> Response:
    assert isinstance(fault, ApiError)
    return json_response(fault.body(), fault.status)


async def render_fault(_: Request, __: Exception) -> Response:
    """A bug: the client learns nothing about it, the log everything."""
    return json_response(ApiError("Internal server error.").body(), 500)


async def render_http_error(_: Request, fault: Exception) -> Response:
    assert isinstance(fault, HTTPException)
    kinds: dict[int, type[ApiError]] = {404: NotFoundError, 405: MethodNotAllowedError}
    kind = kinds.get(fault.status_code, BadRequestError)
    return json_response(kind(fault.detail).body(), fault.status_code)

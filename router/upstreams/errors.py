"""What an upstream's refusal means: a mistake of the client, in OpenAI's words, or a fault of the upstream."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from router.errors import CallError, ContextLengthError, InvalidCallError
from router.upstreams.upstreams import FaultKind, UpstreamFault

_CONTEXT_OVERFLOW: Final = re.compile(r"maximum (context|model) length|context length is|exceeds? .*context", re.I)
_NO_ROUTE: Final = frozenset({404, 405, 501})
_CLIENT_MISTAKES: Final = frozenset({400, 413, 415, 422})


_NO_PATH: Final = frozenset({"", "Not Found", "Method Not Allowed"})
"""What a server says that has no such path, rather than something against this call."""


class OperationLackingError(Exception):
    """The server does not do this. `is_lasting`: whatever is asked; otherwise a client may have brought it about,
    and only this call goes elsewhere."""

    def __init__(self, is_lasting: bool) -> None:
        super().__init__("the server lacks the operation")
        self.is_lasting = is_lasting


def refusal(status: int, body: bytes, input_name: str) -> CallError:
    """The client's mistake that a 4xx answer reports; raises UpstreamFault or OperationLackingError otherwise.

    A 401, 403 or an unknown model means that the gateway is wrong about its upstream, never that the client is.
    """
    error = _error_object(body)
    message = str(error.get("message") or "")
    if status in _NO_ROUTE and not (status == 404 and "model" in message):
        raise OperationLackingError(is_lasting=message in _NO_PATH)
    if status not in _CLIENT_MISTAKES:
        raise UpstreamFault(FaultKind.STATUS, f"{status} {message[:200]}", overloaded=status in (429, 503))
    return client_mistake(message, error.get("param"), input_name)


def client_mistake(message: str, param: Any, input_name: str) -> InvalidCallError:
    if _CONTEXT_OVERFLOW.search(message):
        return ContextLengthError(message, param=input_name)
    param = param if isinstance(param, str) else None
    return InvalidCallError(message or "The request is not valid.", param=param)


def error_in_stream(error: Any, input_name: str) -> CallError:
    """What a frame that holds an error means."""
    fields = error if isinstance(error, dict) else {}
    status = fields.get("code")
    if isinstance(status, int) and status in _CLIENT_MISTAKES:
        return client_mistake(str(fields.get("message") or ""), fields.get("param"), input_name)
    raise UpstreamFault(FaultKind.STATUS, "an error inside the stream", overloaded=status in (429, 503))


def _error_object(body: bytes) -> dict[str, Any]:
    """The `error` object, or FastAPI's `detail`, as far as the body holds one."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    error = content.get("error") if isinstance(content, dict) else None
    if isinstance(error, dict):
        return error
    detail = content.get("message") or content.get("detail") if isinstance(content, dict) else None
    return {"message": detail if isinstance(detail, str) else error if isinstance(error, str) else ""}

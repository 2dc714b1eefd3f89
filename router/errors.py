"""What can go wrong on a call, drawn once and rendered once.

    CallError                          500 server_error: a bug of ours
    ├── InvalidCallError               400 the client's mistake; `code` and `param` say which
    │   └── ContextLengthError         400 context_length_exceeded
    ├── UnauthenticatedError           401 invalid_api_key, or a header that names somebody else
    ├── ModelNotFoundError             404 model_not_found: unknown, not permitted, or without a price
    ├── UnknownUrlError                404 unknown_url
    ├── MethodNotAllowedError          405
    ├── BodyTimeoutError               408 the body did not arrive
    ├── BodyTooLargeError              413 request_too_large
    ├── MediaTypeError                 415
    ├── LimitReachedError              429 a limit's verdict
    ├── UpstreamFailedError            502 upstream_error: no replica gave an answer
    ├── OverloadedError                503 server_is_overloaded: no replica can take the call now
    ├── LedgerDownError                503 limits cannot be checked now
    ├── DirectoryDownError             503 keys cannot be checked now
    └── UpstreamTimeoutError           504 upstream_timeout

A message is public: it never holds a secret, an upstream's address or text that an upstream did not mean for a
client. What happened inside goes to the log, as the exception's cause.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import ClassVar, Final

from contracts.grant import LevelKind
from router.ports import Dimension, Refused

RETRY_AFTER_CAP_MS: Final = 120_000
"""The OpenAI SDK never retries after a longer wait."""
Headers = list[tuple[bytes, bytes]]
NO_RETRY: Final = (b"x-should-retry", b"false")


class CallError(Exception):
    status: ClassVar[int] = 500
    kind: str = "server_error"
    code: str | None = None
    default_message: ClassVar[str] = "The server had an error while processing your request."

    def __init__(self, message: str | None = None, *, code: str | None = None, param: str | None = None) -> None:
        self.message = message or self.default_message
        self.code = code or type(self).code
        self.param = param
        super().__init__(self.message)

    def headers(self) -> Headers:
        return []


class InvalidCallError(CallError):
    status = 400
    kind = "invalid_request_error"
    code = "invalid_value"


class ContextLengthError(InvalidCallError):
    code = "context_length_exceeded"


class UnauthenticatedError(CallError):
    status = 401
    kind = "invalid_request_error"
    code = "invalid_api_key"
    default_message = "Incorrect API key provided."

    def headers(self) -> Headers:
        return [(b"www-authenticate", b"Bearer")]


class ModelNotFoundError(CallError):
    status = 404
    kind = "invalid_request_error"
    code = "model_not_found"

    def __init__(self, model: str) -> None:
        message = f"The model `{model[:200]}` does not exist or you do not have access to it."
        super().__init__(message, param="model")


class UnknownUrlError(CallError):
    status = 404
    kind = "invalid_request_error"
    code = "unknown_url"

    def __init__(self, method: str, path: str) -> None:
        super().__init__(f"Unknown request URL: {method} {path[:200]}.")


class MethodNotAllowedError(CallError):
    status = 405
    kind = "invalid_request_error"
    code = "method_not_allowed"

    def __init__(self, method: str, path: str, allowed: str) -> None:
        super().__init__(f"Not allowed to {method[:20]} on {path[:200]}.")
        self.allowed = allowed

    def headers(self) -> Headers:
        return [(b"allow", self.allowed.encode())]


class BodyTimeoutError(CallError):
    status = 408
    kind = "invalid_request_error"
    code = "request_timeout"
    default_message = "The request body did not arrive in time."

    def headers(self) -> Headers:
        return [(b"connection", b"close")]


class BodyTooLargeError(CallError):
    status = 413
    kind = "invalid_request_error"
    code = "request_too_large"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The request body is larger than {limit_bytes} bytes.")

    def headers(self) -> Headers:
        return [(b"connection", b"close")]


class MediaTypeError(CallError):
    status = 415
    kind = "invalid_request_error"
    code = "unsupported_media_type"


class LimitReachedError(CallError):
    """A verdict of the ledger. Waiting helps against a rate, so the client is told when to come back; it does not
    help against a budget, so the client is told not to retry."""

    status = 429
    code = "rate_limit_exceeded"

    def __init__(self, refused: Refused) -> None:
        self.refused = refused
        spend = refused.dimension is Dimension.SPEND
        self.kind = "insufficient_quota" if spend else _RATE_KIND[refused.dimension]
        super().__init__(_verdict_message(refused), code=_SPEND_CODE[refused.level] if spend else None)

    def headers(self) -> Headers:
        refused = self.refused
        if refused.dimension is Dimension.SPEND or not refused.possible:
            return [NO_RETRY, *_limit_headers(refused)]
        wait_ms = min(max(refused.retry_after_ms or 1000, 1), RETRY_AFTER_CAP_MS)
        return [*retry_headers(wait_ms), *_limit_headers(refused)]


class UpstreamFailedError(CallError):
    status = 502
    code = "upstream_error"
    default_message = "The model server failed while processing your request."


class OverloadedError(CallError):
    status = 503
    kind = "service_unavailable_error"
    code = "server_is_overloaded"
    default_message = "The model is overloaded or not available right now. Please try again later."

    def headers(self) -> Headers:
        return retry_headers(1000)


class LedgerDownError(OverloadedError):
    code = "limits_unavailable"
    default_message = "Limits cannot be checked right now. Please try again later."


class DirectoryDownError(OverloadedError):
    code = "keys_unavailable"
    default_message = "API keys cannot be checked right now. Please try again later."


class UpstreamTimeoutError(CallError):
    status = 504
    code = "upstream_timeout"
    default_message = "The model server did not answer in time."


_SPEND_CODE: Final[Mapping[LevelKind, str]] = {
    LevelKind.ORGANIZATION: "organization_spend_limit_exceeded",
    LevelKind.PROJECT: "project_spend_limit_exceeded",
    LevelKind.USER: "user_spend_limit_exceeded",
    LevelKind.KEY: "api_key_spend_limit_exceeded",
}
_RATE_KIND: Final[Mapping[Dimension, str]] = {
    Dimension.REQUESTS: "requests",
    Dimension.TOKENS: "tokens",
    Dimension.CONCURRENCY: "concurrency",
}
_RATE_NAME: Final[Mapping[Dimension, str]] = {
    Dimension.REQUESTS: "requests per minute",
    Dimension.TOKENS: "tokens per minute",
    Dimension.CONCURRENCY: "calls at the same time",
}


def _verdict_message(refused: Refused) -> str:
    level = "API key" if refused.level is LevelKind.KEY else refused.level.value
    if refused.dimension is Dimension.SPEND:
        return f"The spend limit of your {level} {refused.level_id} has been reached."
    verdict = f"Rate limit of your {level} {refused.level_id} reached on {_RATE_NAME[refused.dimension]}: "
    remaining = max(refused.remaining, 0)
    return verdict + f"limit {refused.limit}, remaining {remaining}, requested {refused.requested}."


def _limit_headers(refused: Refused) -> Headers:
    if refused.dimension not in (Dimension.REQUESTS, Dimension.TOKENS):
        return []
    name = refused.dimension.value.encode()
    return [
        (b"x-ratelimit-limit-" + name, b"%d" % refused.limit),
        (b"x-ratelimit-remaining-" + name, b"%d" % max(refused.remaining, 0)),
        (b"x-ratelimit-reset-" + name, go_duration(refused.retry_after_ms or 0)),
    ]


def retry_headers(wait_ms: int) -> Headers:
    """Both spellings; the one in milliseconds wins in the OpenAI SDK."""
    return [(b"retry-after-ms", b"%d" % wait_ms), (b"retry-after", b"%d" % -(-wait_ms // 1000))]


def go_duration(milliseconds: int) -> bytes:
    """As Go's time.ParseDuration reads it: `12ms`, `1s`, `6m0s`."""
    if milliseconds < 1000:
        return b"%dms" % milliseconds
    minutes, seconds = divmod(timedelta(milliseconds=milliseconds).total_seconds(), 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{seconds:g}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return (f"{hours}h{text}" if hours else text).encode()


def body_of(error: CallError) -> bytes:
    """The OpenAI envelope."""
    return json.dumps({"error": envelope(error)}, separators=(",", ":")).encode()


def envelope(error: CallError) -> dict[str, str | None]:
    return {"message": error.message, "type": error.kind, "param": error.param, "code": error.code}

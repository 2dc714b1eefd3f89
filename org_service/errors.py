"""Every error of the org service, and the one place that renders them.

    ApiError                     one class is one HTTP meaning
    ├── InvalidRequestError  400
    ├── NotAuthenticatedError 401
    ├── ForbiddenError       403   the caller may not do this to anything
    ├── NotFoundError        404   absent, or somebody else's: the two look the same
    ├── ConflictError        409   never worth a retry: x-should-retry: false
    ├── BodyTimeoutError     408
    ├── TooLargeError        413
    └── UnavailableError     503   the database is away

`message` is public; the story for us is the exception's cause, which goes to the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

Row = TypeVar("Row")


class ApiError(Exception):
    status = 500
    type = "invalid_request_error"
    code: str | None = None
    headers: ClassVar[Mapping[str, str]] = {}

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        if code is not None:
            self.code = code


class InvalidRequestError(ApiError):
    status = 400
    code = "invalid_value"


class NotAuthenticatedError(ApiError):
    status = 401
    code = "invalid_api_key"
    headers: ClassVar[Mapping[str, str]] = {"www-authenticate": "Bearer"}


class ForbiddenError(ApiError):
    status = 403
    code = "insufficient_permissions"


class NotFoundError(ApiError):
    status = 404
    code = "not_found"


class ConflictError(ApiError):
    status = 409
    code = "conflict"
    headers: ClassVar[Mapping[str, str]] = {"x-should-retry": "false"}


class BodyTimeoutError(ApiError):
    status = 408
    code = "request_timeout"


class TooLargeError(ApiError):
    status = 413
    code = "request_too_large"


class UnavailableError(ApiError):
    status = 503
    type = "service_unavailable_error"
    code = "database_unavailable"
    headers: ClassVar[Mapping[str, str]] = {"retry-after": "1"}


def found(row: Row | None, noun: str, object_id: str) -> Row:
    """The row, or a 404 that does not tell a stranger's resource from none."""
    if row is None:
        raise NotFoundError(f"No {noun} found with id '{object_id}'.")
    return row


def envelope(message: str, error_type: str, code: str | None, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": error_type, "param": param, "code": code}}


def install(app: FastAPI) -> None:
    """Answer every error of the app in the OpenAI envelope."""
    app.add_exception_handler(ApiError, _render)
    app.add_exception_handler(RequestValidationError, _render_validation)
    app.add_exception_handler(HTTPException, _render_routing)


async def _render(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    body = envelope(error.message, error.type, error.code, error.param)
    return JSONResponse(body, error.status, dict(error.headers))


_CODES = {
    "missing": "missing_required_parameter",
    "extra_forbidden": "unknown_parameter",
    "json_invalid": "invalid_json",
}


async def _render_validation(_: Request, error: Exception) -> JSONResponse:
    """The first thing wrong with a request. The value is not repeated: it may be a secret."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    param = ".".join(str(part) for part in first["loc"][1:]) or None
    code = _CODES.get(first["type"], "invalid_value")
    if code == "invalid_json":
        param = None
    message = f"Invalid '{param}': {first['msg']}." if param else f"Invalid request: {first['msg']}."
    return JSONResponse(envelope(message, "invalid_request_error", code, param), 400)


async def _render_routing(request: Request, error: Exception) -> JSONResponse:
    """Starlette's own 404 and 405, and anything else that is raised as an HTTPException."""
    assert isinstance(error, HTTPException)
    code, message = None, str(error.detail)
    if error.status_code == 404:
        code, message = "unknown_url", f"Unknown request URL: {request.method} {request.url.path}."
    elif error.status_code == 405:
        code, message = "method_not_allowed", f"{request.method} is not allowed on {request.url.path}."
    body = envelope(message, "invalid_request_error", code)
    return JSONResponse(body, error.status_code, dict(error.headers or {}))

"""What can go wrong, one tree:

AnalyticsError
├── ApiError                      an HTTP answer in OpenAI's envelope; the message is public
│   ├── InvalidParameterError     400, names the parameter
│   ├── UnauthenticatedError      401, the same for unknown, revoked and expired keys
│   ├── UnknownUrlError           404
│   ├── MethodNotAllowedError     405
│   ├── UnavailableError          503, a part behind us is down; Retry-After
│   └── InternalError             500
├── DatabaseUnavailableError      try again later; nothing is known about the transaction
├── UnrecordableError             the database refuses the values themselves; trying again is no use
├── SourceUnavailableError        broker or outbox lost; reopen
└── DirectoryUnavailableError     org_service does not answer and nothing fresh is cached
"""

from __future__ import annotations

from typing import Any


class AnalyticsError(Exception):
    """The root."""


class ApiError(AnalyticsError):
    status = 500
    type = "server_error"
    code: str | None = None

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param

    @property
    def headers(self) -> dict[str, str]:
        return {}

    def envelope(self) -> dict[str, Any]:
        """`{"error": {"message", "type", "param", "code"}}`, all four always present."""
        body = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": body}


class InvalidParameterError(ApiError):
    status = 400
    type = "invalid_request_error"

    def __init__(self, message: str, param: str, code: str = "invalid_value") -> None:
        super().__init__(message, param)
        self.code = code


class UnauthenticatedError(ApiError):
    status = 401
    type = "invalid_request_error"
    code = "invalid_api_key"

    @property
    def headers(self) -> dict[str, str]:
        return {"www-authenticate": "Bearer"}


class UnknownUrlError(ApiError):
    status = 404
    type = "invalid_request_error"
    code = "unknown_url"


class MethodNotAllowedError(ApiError):
    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"


class UnavailableError(ApiError):
    status = 503
    type = "service_unavailable_error"
    code = "service_unavailable"

    @property
    def headers(self) -> dict[str, str]:
        return {"retry-after": "1"}


class InternalError(ApiError):
    """The message says nothing of the cause; the log does."""


class DatabaseUnavailableError(AnalyticsError):
    pass


class UnrecordableError(AnalyticsError):
    pass


class SourceUnavailableError(AnalyticsError):
    pass


class DirectoryUnavailableError(AnalyticsError):
    pass

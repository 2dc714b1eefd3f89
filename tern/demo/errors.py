"""What the demo backend answers when it cannot serve, in vLLM's shape: `{"error": {message, type, param, code}}`.

ApiError
    InvalidBodyError  400 "Bad Request": the body is no JSON or has a wrong type
    BadRequestError   400: well formed, but cannot be done
    NotFoundError     404: unknown model or path
    MethodNotAllowedError  405
    EngineError       500: the forward pass failed
"""

from __future__ import annotations

from http import HTTPStatus


class ApiError(Exception):
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    kind = "InternalServerError"

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param

    def body(self) -> dict[str, object]:
        return {
            "error": {"message": self.message, "type": self.kind, "param": self.param, "code": int(self.status)}
        }


class InvalidBodyError(ApiError):
    status = HTTPStatus.BAD_REQUEST
    kind = "Bad Request"


class BadRequestError(ApiError):
    status = HTTPStatus.BAD_REQUEST
    kind = "BadRequestError"


class NotFoundError(ApiError):
    status = HTTPStatus.NOT_FOUND
    kind = "NotFoundError"


class MethodNotAllowedError(ApiError):
    status = HTTPStatus.METHOD_NOT_ALLOWED
    kind = "Method Not Allowed"


class EngineError(ApiError):
    """The forward pass failed; the engine itself goes on."""

"""How streams end: always well-formed, with the reason where it is not the upstream's own end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from contracts.catalog import Operation
from contracts.usage_event import CallStatus
from router.answers import sse
from router.answers.response_tap import ResponseTap
from router.answers.tap import ChunkTap
from router.errors import (
    CallError,
    InvalidCallError,
    LedgerDownError,
    OverloadedError,
    UnauthenticatedError,
    UpstreamFailedError,
    UpstreamTimeoutError,
    envelope,
)
from router.open_calls import OpenCall, Stop
from router.upstreams.upstreams import FaultKind, UpstreamFault

Tap = ChunkTap | ResponseTap


class SpendLimitError(CallError):
    """Only ever a frame: the stream it ends has begun."""

    kind = "insufficient_quota"
    code = "spend_limit_exceeded"
    default_message = "A spend limit was reached while the answer was streaming."


STOP_ERRORS: Final[dict[Stop, Callable[[], CallError]]] = {
    Stop.UPSTREAM_STALLED: UpstreamTimeoutError,
    Stop.DEADLINE: UpstreamTimeoutError,
    Stop.REVOKED: UnauthenticatedError,
    Stop.SPEND_LIMIT: SpendLimitError,
    Stop.LEDGER_LOST: LedgerDownError,
    Stop.SHUTDOWN: lambda: OverloadedError("The gateway is shutting down. Please try again."),
}


@dataclass(frozen=True, slots=True)
class Ending:
    """How a stream ends: the frames still to be written, once the call is settled."""

    frames: bytes
    status: CallStatus
    code: str | None = None


def completed(open_call: OpenCall, tap: Tap) -> Ending:
    """The upstream's own end."""
    mark = b"" if open_call.call.operation is Operation.RESPONSE else sse.DONE
    return Ending(tap.flush() + mark, CallStatus.OK)


def stopped(open_call: OpenCall, tap: Tap | None, why: Stop) -> Ending:
    """A stream that the gateway ends: a last chunk, why, and the end mark. Raises the reason instead if nothing
    was sent yet."""
    if why in (Stop.CLIENT_GONE, Stop.CLIENT_STALLED):
        return Ending(b"", CallStatus.CANCELLED, why.value)
    error = STOP_ERRORS[why]()
    if why in (Stop.UPSTREAM_STALLED, Stop.DEADLINE):
        return failed(open_call, tap, error)
    if not open_call.sink.started:
        raise error
    closing = tap.closing("length") if tap is not None else b""
    return Ending(closing + _error_end(open_call, tap, error), CallStatus.STOPPED, error.code)


def failed(open_call: OpenCall, tap: Tap | None, error: CallError) -> Ending:
    """A stream that its upstream broke: why, and the end mark. Raises the reason if nothing was sent yet."""
    if not open_call.sink.started:
        raise error
    held = tap.flush() if tap is not None else b""
    return Ending(held + _error_end(open_call, tap, error), CallStatus.FAILED, error.code)


def error_of(fault: UpstreamFault) -> CallError:
    """What the client hears of an upstream's fault."""
    if fault.kind is FaultKind.STALLED:
        return UpstreamTimeoutError()
    if fault.overloaded or fault.kind is FaultKind.CONNECT:
        return OverloadedError()
    return UpstreamFailedError()


def lacking(open_call: OpenCall) -> CallError:
    call = open_call.call
    message = f"The model `{call.model[:200]}` does not support /v1/{call.operation.value}."
    return InvalidCallError(message, code="unsupported_endpoint", param="model")


def _error_end(open_call: OpenCall, tap: Tap | None, error: CallError) -> bytes:
    if open_call.call.operation is Operation.RESPONSE:
        number = tap.sequence_number if isinstance(tap, ResponseTap) else 0
        return sse.response_error_frame(envelope(error), number)
    return sse.error_frame(envelope(error)) + sse.DONE

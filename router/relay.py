"""Stop 5, send, stream bytes through, tap usage.

Until the first byte was passed on, a failed upstream is replaced by the next one. From then on the stream always
ends well-formed: with the upstream's own end, or with an error frame that says why.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from contracts.catalog import Operation, Upstream
from router.answers.endings import Ending, completed, error_of, failed, lacking, stopped
from router.answers.response_tap import ResponseTap
from router.answers.tap import BrokenStreamError, ChunkTap, FrameTooLargeError, UpstreamErrorFrame
from router.answers.whole import read_answer
from router.call import render
from router.errors import CallError, OverloadedError, UpstreamFailedError, UpstreamTimeoutError
from router.headers import upstream_headers
from router.open_calls import OpenCall, Stop
from router.ports import ExtendOutcome, Ledger, LedgerUnavailableError
from router.upstreams.errors import OperationLackingError, error_in_stream, refusal
from router.upstreams.upstreams import FaultKind, UpstreamFault, UpstreamReply, Upstreams
from router.usage import UsageTally

INPUT_NAMES: Final = {
    Operation.CHAT: "messages",
    Operation.COMPLETION: "prompt",
    Operation.EMBEDDING: "input",
    Operation.RESPONSE: "input",
}
T = TypeVar("T")
Tap = ChunkTap | ResponseTap


@dataclass(frozen=True, slots=True)
class RelayLimits:
    attempts: int = 3
    frame_cap_bytes: int = 1024 * 1024
    answer_cap_bytes: int = 64 * 1024 * 1024
    cache_salt_secret: str | None = None


class FaultObserver(Protocol):
    def fault(self, upstream: Upstream, fault: UpstreamFault, ejected: bool) -> None:
        """An attempt failed, whether or not another upstream then answered."""
        ...


class _Live:
    """The attempt that is under way."""

    __slots__ = ("reply", "tap")

    def __init__(self) -> None:
        self.reply: UpstreamReply | None = None
        self.tap: Tap | None = None

    def close(self) -> None:
        if self.reply is not None:
            self.reply.close()
            self.reply = None


class Relay:
    def __init__(self, upstreams: Upstreams, ledger: Ledger, limits: RelayLimits, observer: FaultObserver) -> None:
        self._upstreams = upstreams
        self._ledger = ledger
        self._limits = limits
        self._observer = observer

    async def answer(self, open_call: OpenCall, order: list[Upstream]) -> bytes:
        """The whole answer of a call that does not stream; raises CallError. When the call is stopped, the
        cancellation goes through, with `open_call.stopped` set."""
        return await self._first_of(open_call, order, lambda upstream: self._answer_of(open_call, upstream))

    async def stream(self, open_call: OpenCall, order: list[Upstream]) -> Ending:
        """Pass a stream on to the call's sink, all but its end; raises CallError if nothing was passed on."""
        live = _Live()
        try:
            await self._first_of(open_call, order, lambda upstream: self._begin(open_call, upstream, live))
            return await self._pump(open_call, live)
        except CallError as error:
            return failed(open_call, live.tap, error)
        except UpstreamFault as fault:
            self._note(open_call, fault)
            return failed(open_call, live.tap, error_of(fault))
        except asyncio.CancelledError:
            why = open_call.take_stop()
            if why is None:
                raise
            await self._drain(live)
            return stopped(open_call, live.tap, why)
        finally:
            live.close()

    async def _first_of(
        self, open_call: OpenCall, order: list[Upstream], attempt: Callable[[Upstream], Awaitable[T]]
    ) -> T:
        error: CallError | None = None
        for upstream in order[: self._limits.attempts]:
            open_call.upstream = upstream
            open_call.waiting_since = time.monotonic()
            try:
                result = await attempt(upstream)
            except UpstreamFault as fault:
                self._note(open_call, fault)
                error = error_of(fault)
                if fault.kind is FaultKind.TOO_LARGE:
                    raise error from fault
            except OperationLackingError as lacks:
                if lacks.is_lasting:
                    self._upstreams.lacks(upstream, open_call.call.operation)
                error = lacking(open_call)
            except asyncio.CancelledError:
                if open_call.stopped is not Stop.UPSTREAM_STALLED:
                    raise
                open_call.take_stop()
                open_call.resume()
                self._note(open_call, UpstreamFault(FaultKind.STALLED, "no first byte"))
                error = UpstreamTimeoutError()
            else:
                self._upstreams.succeeded(upstream)
                return result
        raise error or OverloadedError()

    async def _send(self, open_call: OpenCall, upstream: Upstream) -> UpstreamReply:
        """Raises CallError, UpstreamFault or OperationLackingError unless the upstream took the call."""
        call, can = open_call.call, upstream.capabilities
        ask_usage = can.usage_in_stream and call.operation is not Operation.RESPONSE
        body = render(call, upstream.model_name, ask_usage, can.continuous_usage, self._own_members(open_call))
        headers = upstream_headers(open_call.admission.reservation.call_id, upstream)
        open_call.sent = True
        reply = await self._upstreams.send(upstream, call.operation, body, headers)
        if reply.status == 200:
            return reply
        try:
            content = await reply.read_all(self._limits.frame_cap_bytes)
        finally:
            reply.close()
        open_call.sent = False
        raise refusal(reply.status, content, INPUT_NAMES[call.operation])

    async def _answer_of(self, open_call: OpenCall, upstream: Upstream) -> bytes:
        reply = await self._send(open_call, upstream)
        try:
            body = await reply.read_all(self._limits.answer_cap_bytes)
        finally:
            reply.close()
        return read_answer(open_call, body)

    async def _begin(self, open_call: OpenCall, upstream: Upstream, live: _Live) -> None:
        """Open a stream and pass on its first whole frame."""
        live.close()
        open_call.tally = UsageTally(open_call.call.choices_per_prompt)
        live.tap = self._tap(open_call)
        open_call.sending = True
        try:
            live.reply = await self._send(open_call, upstream)
            open_call.answered()
            if not live.reply.content_type.startswith("text/event-stream"):
                raise UpstreamFault(FaultKind.GARBAGE, f"a stream of {live.reply.content_type[:100]!r}")
            first = b""
            while not first and not live.tap.done:
                self._check(open_call, live.tap)
                first = live.tap.feed(await _some(live.reply))
            if not first:
                self._check(open_call, live.tap)
        except (UpstreamFault, CallError):
            live.close()
            open_call.tally = UsageTally()
            raise
        open_call.first_byte_at = open_call.waiting_since = time.monotonic()
        open_call.passed = True
        await open_call.sink.write(first)

    async def _pump(self, open_call: OpenCall, live: _Live) -> Ending:
        reply, tap, sink = live.reply, live.tap, open_call.sink
        if reply is None or tap is None:
            raise UpstreamFailedError
        while not tap.done and tap.fault is None:
            if open_call.tally.output_tokens >= open_call.extend_at:
                why = await self._extend(open_call)
                if why is not None:
                    return stopped(open_call, live.tap, why)
            data = await reply.read()
            if not data:
                break
            open_call.waiting_since = time.monotonic()
            out = tap.feed(data)
            if out:
                await sink.write(out)
        self._check(open_call, tap)
        if not tap.done and not tap.finished:
            raise UpstreamFault(FaultKind.CUT, "the stream ended before its answer did")
        return completed(open_call, tap)

    def _check(self, open_call: OpenCall, tap: Tap) -> None:
        """Raises what the stream's broken frame means, if it had one."""
        match tap.fault:
            case FrameTooLargeError() as broken:
                raise UpstreamFault(FaultKind.TOO_LARGE, str(broken)) from broken
            case BrokenStreamError() as broken:
                raise UpstreamFault(FaultKind.GARBAGE, str(broken)) from broken
            case UpstreamErrorFrame() as frame:
                raise error_in_stream(frame.error, INPUT_NAMES[open_call.call.operation]) from frame

    async def _extend(self, open_call: OpenCall) -> Stop | None:
        """Hold the next stretch of output; why the stream must end if that is refused. While the ledger cannot
        answer the stream goes on, until the heartbeat gives the ledger up."""
        output_tokens, more_nano_usd, more_tokens = open_call.shortage()
        try:
            outcome = await self._ledger.extend(
                open_call.admission.reservation, open_call.counted(), more_nano_usd, more_tokens
            )
        except LedgerUnavailableError:
            open_call.hold(output_tokens)
            return None
        if outcome is ExtendOutcome.REFUSED:
            return Stop.SPEND_LIMIT
        if outcome is ExtendOutcome.GONE:
            return Stop.LEDGER_LOST
        open_call.hold(output_tokens)
        open_call.held_nano_usd += more_nano_usd
        open_call.held_tokens += more_tokens
        open_call.extended_at = time.monotonic()
        return None

    async def _drain(self, live: _Live) -> None:
        """Count what the upstream had sent when the stream was cut; nobody reads it any more."""
        if live.reply is not None and live.tap is not None:
            live.tap.feed(await live.reply.leftovers())

    def _tap(self, open_call: OpenCall) -> Tap:
        call, cap_bytes = open_call.call, self._limits.frame_cap_bytes
        if call.operation is Operation.RESPONSE:
            return ResponseTap(call.model, open_call.tally, frame_cap_bytes=cap_bytes)
        return ChunkTap(
            call.model,
            open_call.tally,
            include_usage=call.include_usage,
            continuous_usage=call.continuous_usage,
            choices=call.choices,
            frame_cap_bytes=cap_bytes,
        )

    def _own_members(self, open_call: OpenCall) -> str:
        """Members that the gateway sets itself: a salt keeps tenants from timing each other's caches."""
        secret = self._limits.cache_salt_secret
        if secret is None or open_call.call.operation is Operation.EMBEDDING:
            return ""
        organization_id = open_call.admission.reservation.grant.organization_id
        return f',"cache_salt":"{hmac.new(secret.encode(), organization_id.encode(), "sha256").hexdigest()}"'

    def _note(self, open_call: OpenCall, fault: UpstreamFault) -> None:
        """An answer over a limit is what the call asked for: another upstream would give it too, and none is to be
        ejected for it."""
        upstream = open_call.upstream
        if upstream is not None:
            answered = fault.kind in (FaultKind.STATUS, FaultKind.GARBAGE) and not fault.overloaded
            ejected = fault.kind is not FaultKind.TOO_LARGE and self._upstreams.failed(upstream, answered)
            self._observer.fault(upstream, fault, ejected)


async def _some(reply: UpstreamReply) -> bytes:
    data = await reply.read()
    if not data:
        raise UpstreamFault(FaultKind.CUT, "the stream ended before its first frame")
    return data

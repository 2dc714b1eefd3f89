"""The four operations that cost money: the stops, strung together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.types import Receive, Scope, Send

from contracts.catalog import Operation, Upstream
from contracts.usage_event import CallStatus
from router.admit import admit, find_model
from router.answers.endings import STOP_ERRORS
from router.authenticate import authenticate
from router.call import Call
from router.choose import choose
from router.endpoints.exchange import UNWATCHED_SECONDS, ClientGoneError, Exchange, Watch
from router.errors import LedgerDownError, MethodNotAllowedError
from router.learned import Learned
from router.open_calls import Admission, OpenCall, OpenCalls, Stop
from router.ports import KeyDirectory, Ledger
from router.receive import check_media_type, receive
from router.relay import Relay
from router.settings import Settings
from router.settle import Settler
from router.snapshot import Snapshots
from router.upstreams.upstreams import Upstreams


@dataclass(frozen=True, slots=True)
class Walk:
    """What the stops need, and nothing else."""

    settings: Settings
    directory: KeyDirectory
    ledger: Ledger
    snapshots: Snapshots
    upstreams: Upstreams
    relay: Relay
    settler: Settler
    learned: Learned
    open_calls: OpenCalls


class Inference:
    """POST /v1/<operation>."""

    def __init__(self, operation: Operation, walk: Walk) -> None:
        self._operation = operation
        self._walk = walk
        self._turn = 0

    async def __call__(self, scope: Scope, receive_message: Receive, send: Send) -> None:
        exchange: Exchange = scope["exchange"]
        if exchange.method != "POST":
            raise MethodNotAllowedError(exchange.method, exchange.path, "POST")
        walk, now = self._walk, datetime.now(UTC)
        exchange.grant = await authenticate(exchange.headers, walk.directory, now)
        check_media_type(exchange.headers.get(b"content-type"), exchange.headers.get(b"content-encoding"))
        body = await exchange.body(walk.settings.body_limit_bytes, walk.settings.body_timeout_seconds)
        call = receive(self._operation, body)
        admission, order = await self._admit(exchange, call, now)
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("an endpoint runs in a task")
        patience_seconds = self._patience_seconds(exchange, call)
        open_call = OpenCall(call, admission, exchange, task, patience_seconds)
        await (self._stream if call.stream else self._whole)(exchange, open_call, order)

    async def _admit(self, exchange: Exchange, call: Call, now: datetime) -> tuple[Admission, list[Upstream]]:
        walk, grant = self._walk, exchange.grant
        if grant is None:
            raise RuntimeError("authenticate comes first")
        snapshot = walk.snapshots.latest()
        model = find_model(call, grant, snapshot)
        exchange.fields["model"] = model.id
        estimate = walk.learned.output_tokens(grant.key_id, model.id)
        try:
            admission = await admit(call, exchange.call_id, grant, model, snapshot, walk.ledger, estimate, now)
        except (LedgerDownError, asyncio.CancelledError):
            walk.settler.release_unknown(exchange.call_id, grant)
            raise
        exchange.headroom = admission.reservation.headroom
        self._turn += 1
        candidates = walk.upstreams.candidates(snapshot.upstreams(model.id))
        return admission, choose(candidates, call.operation, self._turn)

    async def _stream(self, exchange: Exchange, open_call: OpenCall, order: list[Upstream]) -> None:
        status, watch = CallStatus.FAILED, self._open(exchange, open_call)
        try:
            ending = await self._walk.relay.stream(open_call, order)
            status = ending.status
            exchange.fields["ended"] = ending.code
        finally:
            self._close(open_call, watch)
            await self._settle(exchange, open_call, status)
        if status is CallStatus.CANCELLED:
            raise ClientGoneError
        await exchange.finish(ending.frames)

    async def _whole(self, exchange: Exchange, open_call: OpenCall, order: list[Upstream]) -> None:
        status, watch = CallStatus.FAILED, self._open(exchange, open_call)
        try:
            answer = await self._walk.relay.answer(open_call, order)
            status = CallStatus.OK
        except asyncio.CancelledError:
            why = open_call.take_stop()
            if why is None:
                raise
            if why not in STOP_ERRORS or self._gave_up_early(exchange, open_call.call, why):
                status = CallStatus.CANCELLED
            if why in STOP_ERRORS:
                raise STOP_ERRORS[why]() from None
            raise ClientGoneError from None
        finally:
            self._close(open_call, watch)
            await self._settle(exchange, open_call, status)
        await exchange.reply(200, answer, [])

    def _gave_up_early(self, exchange: Exchange, call: Call, why: Stop) -> bool:
        """Whether it was the client's own deadline: then it cut the call, and pays as if it had left."""
        limit = self._walk.settings.unary_timeout_seconds
        return why is Stop.DEADLINE and self._patience_seconds(exchange, call) < limit

    def _open(self, exchange: Exchange, open_call: OpenCall) -> Watch:
        self._walk.open_calls.add(open_call)
        return exchange.watch(open_call.client_gone, 0.0 if open_call.call.stream else UNWATCHED_SECONDS)

    def _close(self, open_call: OpenCall, watch: Watch) -> None:
        watch.cancel()
        self._walk.open_calls.remove(open_call)

    async def _settle(self, exchange: Exchange, open_call: OpenCall, status: CallStatus) -> None:
        event = await self._walk.settler.settle(open_call, status)
        if event is not None:
            exchange.fields |= {"input_tokens": event.tokens.input, "output_tokens": event.tokens.output}
            exchange.fields |= {"usage_source": event.usage_source, "upstream": event.upstream_id}

    def _patience_seconds(self, exchange: Exchange, call: Call) -> float:
        """How long a whole answer may take; a client that says it gives up earlier is believed."""
        limit = self._walk.settings.unary_timeout_seconds
        hint = exchange.headers.get(b"x-stainless-read-timeout", b"")
        if call.stream or not hint.replace(b".", b"", 1).isdigit():
            return limit
        return min(limit, max(float(hint), 1.0))

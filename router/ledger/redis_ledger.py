"""RedisLedger: the ledger's steps as Lua scripts, one atomic call each (router/ledger/lua says what they do)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from contracts.grant import Grant, LevelKind
from contracts.pricing import Tokens
from contracts.usage_event import UsageEvent, encode
from router.ledger.connection import Argument
from router.ledger.kept import KeptSettlements
from router.ledger.pipeline import ScriptPipeline
from router.ledger.plan import (
    Account,
    PlanBook,
    StepKeys,
    counted_text,
    deadlines_key,
    from_us,
    record_key,
    to_us,
)
from router.ledger.recovery import Recovery
from router.ledger.scripts import Script
from router.ports import (
    Balance,
    Dimension,
    ExtendOutcome,
    Headroom,
    LedgerUnavailableError,
    Overdue,
    PricedAmount,
    Refused,
    Reservation,
    ReserveRequest,
    SettleOutcome,
    UnpricedError,
)

REMEMBER_SECONDS: Final = 2 * 24 * 3600
"""How long a call is known to be done; far longer than any spool waits to be replayed. Costs 176 bytes of Redis
per call (measured on 7.0): 30 MB for each call a second that is kept up for two days."""


class RedisLedger:
    """`on_settled(shard)` is called after each step that appended to an outbox. `clock` (microseconds) stands in
    for the server's clock in tests."""

    def __init__(
        self,
        pipeline: ScriptPipeline,
        *,
        lease_seconds: float = 10.0,
        remember_seconds: int = REMEMBER_SECONDS,
        on_settled: Callable[[int], None] = lambda shard: None,
        kept: KeptSettlements | None = None,
        recovery: Recovery | None = None,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._scripts = pipeline.scripts
        self._plans = PlanBook()
        self._lease_us = int(lease_seconds * 1_000_000)
        self._remember_seconds = remember_seconds
        self._on_settled = on_settled
        self._kept = KeptSettlements() if kept is None else kept
        self._recovery = Recovery(pipeline, self._kept) if recovery is None else recovery
        self._clock = clock
        self._replaying: set[asyncio.Task[None]] = set()
        pipeline.on_reconnected.append(self._replay_kept)

    async def reserve(self, request: ReserveRequest) -> Reservation | Refused:
        plan = self._plans.plan(request.grant, request.model_id)
        pairs = plan.amounts(request.amounts)
        arguments: list[Argument] = [self._lease_us, plan.limits, request.tokens, plan.facts(request.seed), *pairs]
        reply = await self._step(plan.keys, self._scripts.reserve, request.call_id, arguments)
        match reply[0]:
            case b"ok":
                return _reservation(request, reply)
            case b"refused":
                return _refused(request, reply)
            case b"unpriced":
                raise UnpricedError(f"no price of {request.model_id} is in force")
        raise LedgerUnavailableError("the call ended before its reservation arrived")

    async def extend(
        self, reservation: Reservation, counted: Tokens, more_nano_usd: int = 0, more_tokens: int = 0
    ) -> ExtendOutcome:
        keys = self._plans.plan(reservation.grant, reservation.model_id).keys
        arguments = (self._lease_us, counted_text(counted), more_nano_usd, more_tokens)
        reply = await self._step(keys, self._scripts.extend, reservation.call_id, arguments)
        if reply[0] == b"missing":
            await self._restore(reservation, counted)
            reply = await self._step(keys, self._scripts.extend, reservation.call_id, arguments)
        return ExtendOutcome(reply[0].decode())

    async def settle(self, reservation: Reservation, event: UsageEvent) -> SettleOutcome:
        keys = self._plans.plan(reservation.grant, reservation.model_id).keys
        outcome = await self._settle(keys, event)
        self._kept.add(keys.shard, event)
        return outcome

    async def replay(self, event: UsageEvent) -> SettleOutcome:
        """Settle from the event alone, as the spool does."""
        return await self._settle(StepKeys.of(Account.of(event)), event)

    async def release(self, call_id: str, grant: Grant) -> None:
        keys = StepKeys.of(Account.of(grant))
        await self._step(keys, self._scripts.release, call_id, (self._remember_seconds,))

    async def overdue(self, shard: int, limit: int) -> list[Overdue]:
        script = self._scripts.overdue
        due = await self._pipeline.call(shard, script, (deadlines_key(shard),), (self._now(), limit))
        found = [await self._overdue(shard, call_id.decode()) for call_id in due]
        return [overdue for overdue in found if overdue.record]

    async def reap(self, overdue: Overdue, event: UsageEvent) -> bool:
        keys = StepKeys.of(Account.of(event))
        counted = overdue.record.get("counted", "")
        arguments = (event.cost_nano_usd, event.tokens.total, encode(event), counted, self._remember_seconds)
        reply = await self._step(keys, self._scripts.reap, overdue.call_id, arguments)
        if reply[0] == b"reaped":
            self._on_settled(keys.shard)
        return bool(reply[0] == b"reaped")

    async def balances(self, grant: Grant) -> list[Balance]:
        account = Account.of(grant)
        keys = StepKeys.of(account).levels
        flat = [await self._pipeline.command(account.shard, "HGETALL", key) for key in keys]
        return [_balance(*level, fields) for level, fields in zip(account.level_ids(), flat, strict=True)]

    async def _settle(self, keys: StepKeys, event: UsageEvent) -> SettleOutcome:
        occurred_us = to_us(event.occurred_at)
        arguments = (event.cost_nano_usd, event.tokens.total, encode(event), occurred_us, self._remember_seconds)
        reply = await self._step(keys, self._scripts.settle, event.event_id, arguments)
        outcome = SettleOutcome(reply[0].decode())
        if outcome is not SettleOutcome.ALREADY:
            self._on_settled(keys.shard)
        return outcome

    async def _restore(self, reservation: Reservation, counted: Tokens) -> None:
        """Put back a call that a crash of Redis swallowed; what it held beyond its reserve is forgotten."""
        plan = self._plans.plan(reservation.grant, reservation.model_id)
        plan.amounts((PricedAmount(reservation.price, reservation.reserved_nano_usd),))
        amount, tokens = reservation.reserved_nano_usd, reservation.reserved_tokens
        arguments = (self._lease_us, to_us(reservation.occurred_at), amount, tokens, plan.limits)
        facts = plan.facts(reservation.seed)
        said = (*arguments, facts, counted_text(counted))
        await self._step(plan.keys, self._scripts.restore, reservation.call_id, said)

    def _replay_kept(self) -> None:
        """After a reconnect: Redis may have crashed and lost the last moments before its log reached the disk."""
        task = asyncio.create_task(self._settle_kept(), name="replay-kept")
        self._replaying.add(task)
        task.add_done_callback(self._replaying.discard)

    async def _settle_kept(self) -> None:
        for shard in self._kept.shards():
            with contextlib.suppress(LedgerUnavailableError):
                for event in self._kept.of_shard(shard):
                    await self.replay(event)

    async def _overdue(self, shard: int, call_id: str) -> Overdue:
        flat = await self._pipeline.command(shard, "HGETALL", record_key(shard, call_id))
        texts = [value.decode() for value in flat]
        return Overdue(call_id, shard, dict(zip(texts[::2], texts[1::2], strict=True)))

    def _now(self) -> str:
        return "" if self._clock is None else str(self._clock())

    async def _step(self, keys: StepKeys, script: Script, call_id: str, arguments: Sequence[Argument]) -> Any:
        of_call, said = keys.of_call(call_id), (self._now(), call_id, *arguments)
        reply = await self._pipeline.call(keys.shard, script, of_call, said)
        if reply[0] == b"lost":
            await self._recovery.recover(keys.organization_id)
            reply = await self._pipeline.call(keys.shard, script, of_call, said)
            if reply[0] == b"lost":
                raise LedgerUnavailableError("the counters were lost again")
        return reply


def _reservation(request: ReserveRequest, reply: Sequence[Any]) -> Reservation:
    _, at_us, price, amount, tokens, *headroom = reply
    return Reservation(
        call_id=request.call_id,
        grant=request.grant,
        model_id=request.model_id,
        occurred_at=from_us(at_us),
        price=request.amounts[price].price,
        reserved_nano_usd=amount,
        reserved_tokens=tokens,
        headroom=Headroom(*(None if value < 0 else value for value in headroom)),
        seed=request.seed,
    )


def _refused(request: ReserveRequest, reply: Sequence[Any]) -> Refused:
    _, level, dimension, limit, remaining, requested, retry_after_ms, possible = reply
    kind, level_id = Account.of(request.grant).level_ids()[level - 1]
    return Refused(
        level=kind,
        level_id=level_id,
        dimension=Dimension(dimension.decode()),
        limit=limit,
        remaining=remaining,
        requested=requested,
        retry_after_ms=None if retry_after_ms < 0 else retry_after_ms,
        possible=bool(possible),
    )


def _balance(kind: LevelKind, level_id: str, flat: Sequence[bytes]) -> Balance:
    fields = {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}
    of = {"spent": dict[str, int](), "held": dict[str, int]()}
    for name, value in fields.items():
        period, _, what = name.rpartition(":")
        if what in of:
            of[what][period] = int(value)
    return Balance(kind, level_id, of["spent"], of["held"], int(fields.get("slots", 0)))

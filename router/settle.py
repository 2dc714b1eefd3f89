"""Stop 6, Reservation + usage -> ledger and outbox in one step, exactly once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from contracts.grant import Grant
from contracts.pricing import Tokens, split_cost
from contracts.usage_event import CallStatus, UsageEvent, UsageSource
from router.learned import Learned
from router.open_calls import OpenCall
from router.ports import Ledger, LedgerUnavailableError, SettleOutcome

RETRIES: Final = 60
"""Longer than any lease: after that the reaper has done it."""
MOST_PENDING_RELEASES: Final = 1000
"""Of reservations that may not exist; beyond that their leases run out by themselves."""


class SettleObserver(Protocol):
    def settled(self, event: UsageEvent, outcome: SettleOutcome) -> None: ...

    def released(self, call_id: str) -> None: ...

    def unsettled(self, call_id: str, error: Exception) -> None:
        """The ledger did not answer; it is asked again until the lease is over."""
        ...


class Settler:
    """Each step is idempotent by call id, so a step whose outcome is unknown is simply taken again."""

    def __init__(
        self, ledger: Ledger, learned: Learned, observer: SettleObserver, retry_seconds: float = 1.0
    ) -> None:
        self._retry_seconds = retry_seconds
        self._ledger = ledger
        self._learned = learned
        self._observer = observer
        self._unfinished: set[asyncio.Task[None]] = set()

    async def settle(self, open_call: OpenCall, status: CallStatus) -> UsageEvent | None:
        """Charge what the call used; None if it produced nothing and was given back unspent."""
        used = self._used(open_call, status)
        reservation = open_call.admission.reservation
        if used is None:
            await self.release(reservation.call_id, reservation.grant)
            return None
        event = self._event(open_call, status, *used)

        async def step() -> None:
            self._observer.settled(event, await self._ledger.settle(reservation, event))

        self._learn(open_call, event)
        await self._take(step, event.event_id)
        return event

    async def release(self, call_id: str, grant: Grant) -> None:
        """Give a reservation back unspent, also one of which nobody knows whether it was made."""

        async def step() -> None:
            await self._ledger.release(call_id, grant)
            self._observer.released(call_id)

        await self._take(step, call_id)

    def release_unknown(self, call_id: str, grant: Grant) -> None:
        """Give back what a reserve without an answer may hold, beside the call."""
        if len(self._unfinished) < MOST_PENDING_RELEASES:
            self._later(lambda: self._ledger.release(call_id, grant), 0.0)

    async def finish(self, timeout_seconds: float) -> None:
        """Wait for steps that outlived their calls."""
        if self._unfinished:
            await asyncio.wait(self._unfinished, timeout=timeout_seconds)

    async def _take(self, step: Callable[[], Awaitable[None]], call_id: str) -> None:
        try:
            await step()
        except LedgerUnavailableError as error:
            self._observer.unsettled(call_id, error)
            self._later(step, self._retry_seconds)
        except asyncio.CancelledError:
            self._later(step, 0.0)
            raise

    def _later(self, step: Callable[[], Awaitable[None]], delay_seconds: float) -> None:
        task = asyncio.get_running_loop().create_task(self._retry(step, delay_seconds))
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)

    async def _retry(self, step: Callable[[], Awaitable[None]], delay_seconds: float) -> None:
        for _ in range(RETRIES):
            await asyncio.sleep(delay_seconds)
            try:
                return await step()
            except LedgerUnavailableError:
                delay_seconds = self._retry_seconds
        return None

    def _used(self, open_call: OpenCall, status: CallStatus) -> tuple[Tokens, UsageSource] | None:
        """Reported, else counted, else estimated; None where nothing was produced."""
        tally = open_call.tally
        if not open_call.call.stream and not tally.reported:
            return self._estimated(open_call, status)
        if status is not CallStatus.OK and not tally.reported and not tally.deltas:
            return None
        tokens = tally.tokens()
        return (tokens if tally.input else self._with_input(open_call, tokens)), tally.source

    def _with_input(self, open_call: OpenCall, tokens: Tokens) -> Tokens:
        admission = open_call.admission
        likely = self._learned.input_tokens(admission.model.id, admission.input_bound_tokens)
        return tokens.model_copy(update={"input": likely})

    def _estimated(self, open_call: OpenCall, status: CallStatus) -> tuple[Tokens, UsageSource] | None:
        """A whole call without usage: the likely input, and the time it ran at the model's usual speed."""
        cut = status is CallStatus.CANCELLED and open_call.sent
        if status is not CallStatus.OK and not cut:
            return None
        admission = open_call.admission
        elapsed_seconds = time.monotonic() - open_call.started_at
        choices = open_call.call.choices
        output = round(elapsed_seconds * choices * self._learned.tokens_per_second(admission.model.id))
        likely = Tokens(output=min(output, admission.most_output_tokens))
        return self._with_input(open_call, likely), UsageSource.ESTIMATED

    def _event(self, open_call: OpenCall, status: CallStatus, tokens: Tokens, source: UsageSource) -> UsageEvent:
        reservation, started_at = open_call.admission.reservation, open_call.started_at
        grant, seed, first_at = reservation.grant, reservation.seed, open_call.first_byte_at
        cost = split_cost(tokens, reservation.price)
        return UsageEvent(
            event_id=reservation.call_id,
            occurred_at=reservation.occurred_at,
            organization_id=grant.organization_id,
            project_id=grant.project_id,
            key_id=grant.key_id,
            owner_kind=grant.owner_kind,
            owner_id=grant.owner_id,
            operation=seed.operation,
            model_id=reservation.model_id,
            upstream_id=open_call.upstream.id if open_call.upstream else None,
            stream=seed.stream,
            status=status,
            usage_source=source,
            tokens=tokens,
            cost_nano_usd=cost.total,
            cost_input_nano_usd=cost.input,
            cost_cached_input_nano_usd=cost.cached_input,
            price_version=reservation.price.version,
            duration_ms=round((time.monotonic() - started_at) * 1000),
            first_token_ms=None if first_at is None else round((first_at - started_at) * 1000),
        )

    def _learn(self, open_call: OpenCall, event: UsageEvent) -> None:
        if event.status is not CallStatus.OK or event.usage_source is not UsageSource.REPORTED:
            return
        output = event.tokens.output // open_call.call.choices
        self._learned.learn_output(event.key_id, event.model_id, output)
        bound = open_call.admission.input_bound_tokens
        self._learned.learn_rates(event.model_id, event.tokens.input, bound, output, event.duration_ms / 1000)

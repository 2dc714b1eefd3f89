"""Settled exactly once, whatever happens to the ledger or to the call meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from contracts.catalog import Model, Operation
from contracts.grant import Grant, Level, LevelKind, OwnerKind
from contracts.pricing import split_cost
from contracts.usage_event import CallStatus, UsageEvent, UsageSource
from router.admit import admit
from router.learned import Learned
from router.ledger.memory_ledger import MemoryLedger
from router.open_calls import OpenCall
from router.ports import LedgerUnavailableError, Reservation, SettleOutcome
from router.receive import receive
from router.settle import Settler
from router.snapshot import Snapshot
from tests.fakes.directory import LONG_AGO, PRICE, MemoryCatalog

GRANT = Grant(
    key_id="key_1",
    organization_id="org_1",
    project_id="proj_1",
    owner_kind=OwnerKind.USER,
    owner_id="user_1",
    levels=tuple(Level(kind=kind, id=f"{kind}_1") for kind in LevelKind),  # type: ignore[arg-type]
)


@dataclass
class Seen:
    """What the settler reported."""

    outcomes: list[SettleOutcome] = field(default_factory=list)
    releases: list[str] = field(default_factory=list)
    failures: int = 0

    def settled(self, event: UsageEvent, outcome: SettleOutcome) -> None:
        self.outcomes.append(outcome)

    def released(self, call_id: str) -> None:
        self.releases.append(call_id)

    def unsettled(self, call_id: str, error: Exception) -> None:
        self.failures += 1


class Silence:
    """A sink that takes everything."""

    started = False
    writing_since: float | None = None
    written_at = 0.0

    async def write(self, data: bytes) -> None: ...

    async def ping(self) -> None: ...


class TroubledLedger(MemoryLedger):
    """Fails the next `failures` settlements, after or before they took effect; may be slow."""

    failures = 0
    takes_effect = False
    delay_seconds = 0.0

    async def settle(self, reservation: Reservation, event: UsageEvent) -> SettleOutcome:
        if self.takes_effect or not self.failures:
            outcome = await super().settle(reservation, event)
        await asyncio.sleep(self.delay_seconds)
        if self.failures:
            self.failures -= 1
            raise LedgerUnavailableError
        return outcome


async def open_call_on(ledger: MemoryLedger, stream: bool = True, body: bytes = b"") -> OpenCall:
    catalog = MemoryCatalog([])
    catalog.add("x", name="m")
    snapshot = Snapshot(catalog.snapshot())
    flag = b"true" if stream else b"false"
    call = receive(Operation.CHAT, body or b'{"model":"m","messages":[{}],"max_tokens":50,"stream":' + flag + b"}")
    model = Model(id="m", created_at=LONG_AGO, prices=(PRICE,))
    admission = await admit(call, "call-1", GRANT, model, snapshot, ledger, 16, datetime.now(UTC))
    task = asyncio.current_task()
    assert task is not None
    return OpenCall(call, admission, Silence(), task, 60.0)


async def held(ledger: MemoryLedger) -> list[Any]:
    return [owed for owed in await ledger.balances(GRANT) if owed.slots]


def settler_on(ledger: MemoryLedger, seen: Seen) -> Settler:
    return Settler(ledger, Learned(256, 30.0), seen, retry_seconds=0.01)


async def test_what_was_reported_is_charged_and_the_rest_given_back() -> None:
    ledger, seen = MemoryLedger(), Seen()
    open_call = await open_call_on(ledger)
    open_call.tally.report(11, 7)
    event = await settler_on(ledger, seen).settle(open_call, CallStatus.OK)
    assert event is not None
    assert (event.tokens.input, event.tokens.output, event.usage_source) == (11, 7, UsageSource.REPORTED)
    assert event.cost_nano_usd == split_cost(event.tokens, PRICE).total == 11 * 1000 + 7 * 2000
    assert (seen.outcomes, await held(ledger)) == ([SettleOutcome.SETTLED], [])


@pytest.mark.parametrize("status", [CallStatus.FAILED, CallStatus.CANCELLED, CallStatus.STOPPED])
async def test_a_stream_that_produced_nothing_is_given_back_unspent(status: CallStatus) -> None:
    ledger, seen = MemoryLedger(), Seen()
    assert await settler_on(ledger, seen).settle(await open_call_on(ledger), status) is None
    assert (seen.outcomes, seen.releases, await held(ledger)) == ([], ["call-1"], [])


@pytest.mark.parametrize(("sent", "billed"), [(True, True), (False, False)])
async def test_a_cut_whole_call_is_estimated_only_if_it_was_sent(sent: bool, billed: bool) -> None:
    ledger, seen = MemoryLedger(), Seen()
    open_call = await open_call_on(ledger, stream=False)
    open_call.sent = sent
    open_call.started_at -= 1.0
    event = await settler_on(ledger, seen).settle(open_call, CallStatus.CANCELLED)
    assert (event is not None) == billed
    if event is not None:
        assert (event.usage_source, event.tokens.output) == (UsageSource.ESTIMATED, 30)
    assert await held(ledger) == []


async def test_many_choices_of_one_caller_do_not_make_the_cut_calls_of_others_dearer() -> None:
    ledger, seen = MemoryLedger(), Seen()
    settler = settler_on(ledger, seen)
    many = await open_call_on(ledger, stream=False, body=b'{"model":"m","messages":[{}],"max_tokens":50,"n":100}')
    many.started_at -= 1.0
    many.tally.report(5, 3000)
    await settler.settle(many, CallStatus.OK)
    cut = await open_call_on(MemoryLedger(), stream=False)
    cut.sent = True
    cut.started_at -= 1.0
    event = await settler.settle(cut, CallStatus.CANCELLED)
    assert event is not None and event.tokens.output == pytest.approx(30, abs=1)


@pytest.mark.parametrize("takes_effect", [True, False])
async def test_a_settlement_without_an_answer_is_repeated_and_counts_once(takes_effect: bool) -> None:
    ledger, seen = TroubledLedger(), Seen()
    ledger.takes_effect, ledger.failures = takes_effect, 3
    settler = settler_on(ledger, seen)
    open_call = await open_call_on(ledger)
    open_call.tally.report(11, 7)
    await settler.settle(open_call, CallStatus.OK)
    await settler.finish(5.0)
    assert seen.failures == 1
    assert len(seen.outcomes) == 1
    assert await held(ledger) == []
    [organization, *_] = await ledger.balances(GRANT)
    assert set(organization.spent_nano_usd.values()) == {25_000}


async def test_a_call_cancelled_while_it_settles_is_settled_all_the_same() -> None:
    ledger, seen = TroubledLedger(), Seen()
    ledger.delay_seconds = 0.2
    settler = settler_on(ledger, seen)
    open_call = await open_call_on(ledger)
    open_call.tally.report(11, 7)
    settling = asyncio.create_task(settler.settle(open_call, CallStatus.OK))
    await asyncio.sleep(0.05)
    settling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await settling
    await settler.finish(5.0)
    assert len(seen.outcomes) == 1
    assert await held(ledger) == []


async def test_a_reserve_without_an_answer_is_given_back_beside_the_call() -> None:
    ledger, seen = MemoryLedger(), Seen()
    await open_call_on(ledger)
    settler = settler_on(ledger, seen)
    settler.release_unknown("call-1", GRANT)
    await settler.finish(5.0)
    assert await held(ledger) == []


async def test_a_stream_reserves_its_estimate_and_a_whole_call_its_worst_case() -> None:
    stream = await open_call_on(MemoryLedger())
    whole = await open_call_on(MemoryLedger(), stream=False)
    assert (stream.admission.reserved_output_tokens, whole.admission.reserved_output_tokens) == (16, 50)
    many = await open_call_on(MemoryLedger(), body=b'{"model":"m","messages":[{}],"max_tokens":50,"n":3}')
    assert many.admission.reserved_output_tokens == 150
    unlimited = await open_call_on(MemoryLedger(), body=b'{"model":"m","messages":[{}]}')
    assert unlimited.admission.reserved_output_tokens == 4096
    assert unlimited.admission.input_bound_tokens == len(b'{"model":"m","messages":[{}]}')

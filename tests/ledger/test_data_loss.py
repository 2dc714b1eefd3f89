"""Redis lost data: a budget is never reset by a crash."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx2
import pytest
from redis.asyncio import Redis

from contracts.grant import Grant, LevelKind
from contracts.pricing import Tokens
from contracts.spend import LevelSpend, SpendReport
from contracts.topology import SPEND_PATH, outbox_stream, shard_of
from contracts.usage_event import decode
from router.ledger.connection import RedisAddress
from router.ledger.kept import KeptSettlements
from router.ledger.pipeline import ScriptPipeline
from router.ledger.plan import Account, StepKeys
from router.ledger.recovery import Recovery
from router.ledger.redis_ledger import RedisLedger
from router.ledger.redis_outbox import RedisOutbox
from router.ledger.spend_history import HttpSpendHistory, MemorySpendHistory
from router.ports import (
    ExtendOutcome,
    HistoryUnavailableError,
    LedgerUnavailableError,
    Refused,
    Reservation,
    SettleOutcome,
)
from tests.ledger.calls import event, grant, request, spend

OUTBOX = outbox_stream(shard_of("org_1"))


@pytest.fixture
async def pipeline(redis_client: Redis, redis_server_url: str) -> AsyncIterator[ScriptPipeline]:
    pipeline = ScriptPipeline(RedisAddress.from_url(redis_server_url))
    yield pipeline
    await pipeline.close()


async def reserved(ledger: RedisLedger, holder: Grant | None = None, amount: int = 1000) -> Reservation:
    verdict = await ledger.reserve(request(holder or grant(), amount=amount))
    assert isinstance(verdict, Reservation), verdict
    return verdict


async def all_spent(ledger: RedisLedger) -> list[int]:
    return [balance.spent_nano_usd.get("all", 0) for balance in await ledger.balances(grant())]


def report(holder: Grant, spent: int) -> SpendReport:
    ids = (holder.organization_id, holder.project_id, holder.owner_id, holder.key_id)
    levels = [
        LevelSpend(level=kind, id=level_id, day_nano_usd=spent, month_nano_usd=spent, ever_nano_usd=spent)
        for kind, level_id in zip(LevelKind, ids, strict=True)
    ]
    return SpendReport(organization_id="org_1", at=datetime.now(UTC), levels=tuple(levels))


async def test_an_open_call_that_a_crash_swallowed_is_put_back_at_its_next_heartbeat(
    pipeline: ScriptPipeline, redis_client: Redis
) -> None:
    ledger = RedisLedger(pipeline)
    reservation = await reserved(ledger)
    await redis_client.flushdb()
    assert await ledger.extend(reservation, Tokens(output=2)) is ExtendOutcome.EXTENDED
    for balance in await ledger.balances(grant()):
        assert (balance.held_nano_usd["all"], balance.slots) == (1000, 1)
    assert await ledger.settle(reservation, event(reservation)) is SettleOutcome.SETTLED
    assert await all_spent(ledger) == [7000] * 4


async def test_a_call_that_ended_is_not_put_back(pipeline: ScriptPipeline) -> None:
    ledger = RedisLedger(pipeline)
    reservation = await reserved(ledger)
    await ledger.release(reservation.call_id, grant())
    assert await ledger.extend(reservation, Tokens()) is ExtendOutcome.GONE
    assert (await ledger.balances(grant()))[0].slots == 0


async def test_settlements_of_the_last_moments_are_replayed_after_a_reconnect(
    pipeline: ScriptPipeline, redis_client: Redis
) -> None:
    ledger = RedisLedger(pipeline)
    for _ in range(3):
        reservation = await reserved(ledger)
        await ledger.settle(reservation, event(reservation))
    await redis_client.flushdb()
    await redis_client.client_kill_filter(_type="normal", skipme=True)
    async with asyncio.timeout(10):
        while await redis_client.xlen(OUTBOX) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert await all_spent(ledger) == [3 * 7000] * 4
    await redis_client.client_kill_filter(_type="normal", skipme=True)
    await asyncio.sleep(0.3)
    assert await all_spent(ledger) == [3 * 7000] * 4, "what Redis still knows is not charged again"


async def test_counters_are_rebuilt_before_anybody_spends(pipeline: ScriptPipeline, redis_client: Redis) -> None:
    holder = grant(organization={"spend": (spend(10_000),)})
    history = MemorySpendHistory({"org_1": report(holder, 9000)})
    ledger = RedisLedger(pipeline, recovery=Recovery(pipeline, KeptSettlements(), history, quiet_seconds=0.3))
    with pytest.raises(LedgerUnavailableError):
        await ledger.reserve(request(holder, amount=1000))
    await asyncio.sleep(0.6)
    await reserved(ledger, holder, amount=1000)
    assert isinstance(await ledger.reserve(request(holder, amount=1)), Refused)
    assert await all_spent(ledger) == [9000] * 4
    await redis_client.flushdb()
    with pytest.raises(LedgerUnavailableError):
        await ledger.reserve(request(holder, amount=1000))


async def test_counters_that_are_trusted_again_are_not_rebuilt_by_a_slower_router(
    pipeline: ScriptPipeline,
) -> None:
    ledger = RedisLedger(pipeline)
    reservation = await reserved(ledger)
    await ledger.settle(reservation, event(reservation))
    keys = StepKeys.of(Account.of(grant()))
    said = ("epoch", "d2026-11-20", "m2026-11", *[1] * 12)
    rebuild = pipeline.scripts.rebuild
    assert await pipeline.call(keys.shard, rebuild, (keys.epoch, *keys.levels), said) == [b"known"]
    assert await all_spent(ledger) == [7000] * 4
    history = MemorySpendHistory()
    await Recovery(pipeline, KeptSettlements(), history).recover("org_1")
    assert history.asked == 0


async def test_without_analytics_lost_counters_mean_deny(pipeline: ScriptPipeline) -> None:
    history = MemorySpendHistory(is_down=True)
    ledger = RedisLedger(pipeline, recovery=Recovery(pipeline, KeptSettlements(), history))
    verdicts = await asyncio.gather(*(ledger.reserve(request(grant())) for _ in range(50)), return_exceptions=True)
    assert {type(verdict) for verdict in verdicts} == {LedgerUnavailableError}
    assert history.asked == 1, "one question for all who wait"


async def test_an_organization_that_never_spent_starts_at_once(pipeline: ScriptPipeline) -> None:
    history = MemorySpendHistory()
    ledger = RedisLedger(pipeline, recovery=Recovery(pipeline, KeptSettlements(), history))
    await reserved(ledger)
    await reserved(ledger)
    assert history.asked == 1


async def test_events_on_their_way_are_waited_for(pipeline: ScriptPipeline, redis_client: Redis) -> None:
    holder, is_empty = grant(), False

    async def is_queue_empty() -> bool:
        return is_empty

    history = MemorySpendHistory({"org_1": report(holder, 9000)})
    recovery = Recovery(pipeline, KeptSettlements(), history, is_queue_empty, quiet_seconds=0)
    ledger = RedisLedger(pipeline, recovery=recovery)
    for reason in ("the outbox", "the queue"):
        if reason == "the outbox":
            await redis_client.xadd(OUTBOX, {"event": "{}"})
        with pytest.raises(LedgerUnavailableError, match="on their way"):
            await ledger.reserve(request(holder))
        await redis_client.xtrim(OUTBOX, maxlen=0)
        await asyncio.sleep(0.3)
    is_empty = True
    await reserved(ledger)


async def test_own_settlements_that_were_lost_reach_analytics_once_and_are_not_charged_twice(
    pipeline: ScriptPipeline, redis_client: Redis
) -> None:
    holder, kept, history = grant(), KeptSettlements(), MemorySpendHistory()
    recovery = Recovery(pipeline, kept, history, quiet_seconds=0)
    ledger, outbox = RedisLedger(pipeline, kept=kept, recovery=recovery), RedisOutbox(pipeline, "me")
    reservation = await reserved(ledger, holder)
    await ledger.settle(reservation, event(reservation))
    await redis_client.flushdb()
    for _ in range(2):
        with pytest.raises(LedgerUnavailableError, match="on their way"):
            await ledger.reserve(request(holder))
        await asyncio.sleep(0.3)
    entries = await outbox.read(shard_of("org_1"), 10)
    assert [decode(json.loads(entry.event)) for entry in entries] == [event(reservation)]
    await outbox.remove(shard_of("org_1"), [entry.entry_id for entry in entries])
    history.reports["org_1"] = report(holder, 7000)
    await reserved(ledger, holder)
    assert await ledger.settle(reservation, event(reservation)) is SettleOutcome.ALREADY
    assert await all_spent(ledger) == [7000] * 4


async def test_kept_settlements_are_forgotten_once_they_are_safe(pipeline: ScriptPipeline) -> None:
    now = 100.0
    kept = KeptSettlements(until_drained=True, keep_seconds=5.0, most=3, clock=lambda: now)
    sample = event(await reserved(RedisLedger(pipeline)))
    kept.add(7, sample)
    now = 104.0
    kept.emptied(7, 103.0)
    assert kept.shards() == [7], "the disk may not have it yet"
    now = 106.0
    kept.emptied(7, 99.0)
    assert kept.shards() == [7], "it was settled after the outbox was read"
    kept.emptied(7, 105.0)
    assert kept.shards() == []
    for _ in range(4):
        kept.add(7, sample)
    assert (len(kept.of_shard(7)), kept.forgotten_total) == (3, 1)


def answering(status: int, body: object) -> HttpSpendHistory:
    def answer(asked: httpx2.Request) -> httpx2.Response:
        assert asked.url.path == SPEND_PATH
        assert asked.headers["authorization"] == "Bearer token"
        assert datetime.fromisoformat(asked.url.params["at"]).tzinfo is not None
        return httpx2.Response(status, json=body)

    return HttpSpendHistory("http://analytics", "token", transport=httpx2.MockTransport(answer))


async def test_history_is_asked_over_http() -> None:
    given = report(grant(), 5)
    history = answering(200, given.model_dump(mode="json"))
    assert await history.spent("org_1", datetime.now(UTC)) == given
    await history.close()


@pytest.mark.parametrize(("status", "body"), [(503, {}), (200, {"levels": 1})])
async def test_an_unusable_answer_is_no_history(status: int, body: object) -> None:
    history = answering(status, body)
    with pytest.raises(HistoryUnavailableError):
        await history.spent("org_1", datetime.now(UTC))
    await history.close()

"""Settlements that cannot reach the ledger wait on the disk and are charged exactly once in the end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from contracts.usage_event import encode
from router.duties.reap import Reaper
from router.duties.replay import Replay
from router.ledger.memory_ledger import MemoryLedger
from router.ledger.spool import UNREADABLE, Spool, SpoolRefusedError
from router.ledger.spooling_ledger import SpoolingLedger
from router.ports import Reservation, SettleOutcome
from tests.ledger.calls import Clock, event, grant, request
from tests.ledger.flaky import FlakyLedger


async def reserved(ledger: MemoryLedger) -> Reservation:
    reservation = await ledger.reserve(request(grant()))
    assert isinstance(reservation, Reservation)
    return reservation


async def spent(ledger: MemoryLedger) -> int:
    organization, *_ = await ledger.balances(grant())
    assert organization.slots == 0
    assert organization.held_nano_usd["all"] == organization.spent_nano_usd["all"]
    return organization.spent_nano_usd["all"]


async def test_a_settlement_waits_for_the_ledger_and_is_charged_once(tmp_path: Path) -> None:
    flaky = FlakyLedger()
    spool = Spool(tmp_path / "spool")
    ledger, replay = SpoolingLedger(flaky, spool), Replay(spool, flaky)
    reservations = [await reserved(flaky) for _ in range(3)]
    flaky.is_down = True
    for reservation in reservations:
        assert await ledger.settle(reservation, event(reservation)) is SettleOutcome.SPOOLED
    await replay.attempt()
    assert (spool.waiting, replay.replayed_total) == (3, 0)
    flaky.is_down = False
    await replay.attempt()
    await replay.attempt()
    assert (spool.waiting, replay.replayed_total) == (0, 3)
    assert await spent(flaky) == 3 * 7000
    assert list((tmp_path / "spool").iterdir()) == []


async def test_a_lost_reply_is_replayed_without_charging_twice(tmp_path: Path) -> None:
    flaky = FlakyLedger(loses_replies=True)
    spool = Spool(tmp_path)
    reservation = await reserved(flaky)
    assert await SpoolingLedger(flaky, spool).settle(reservation, event(reservation)) is SettleOutcome.SPOOLED
    flaky.loses_replies = False
    assert await spool.replay(flaky.replay) == 1
    assert await spent(flaky) == 7000
    assert flaky.seen == [reservation.call_id] * 2


async def test_what_was_reaped_meanwhile_is_corrected(tmp_path: Path) -> None:
    clock = Clock()
    flaky = FlakyLedger(clock=clock)
    spool = Spool(tmp_path)
    reservation = await reserved(flaky)
    flaky.is_down = True
    await SpoolingLedger(flaky, spool).settle(reservation, event(reservation))
    clock.turn(60)
    await Reaper(flaky).sweep()
    flaky.is_down = False
    await spool.replay(flaky.replay)
    assert await spent(flaky) == 7000


async def test_the_next_process_replays_what_a_dead_one_left(tmp_path: Path) -> None:
    flaky = FlakyLedger()
    reservation = await reserved(flaky)
    left_behind = Spool(tmp_path)
    await left_behind.append(event(reservation))
    assert await Spool(tmp_path).replay(flaky.replay) == 0, "its writer lives"
    left_behind.close()
    assert await Spool(tmp_path).replay(flaky.replay) == 1
    assert await spent(flaky) == 7000


async def test_a_line_torn_by_a_crash_is_left_out_and_a_spoilt_one_is_kept_aside(tmp_path: Path) -> None:
    flaky = FlakyLedger()
    reservation = await reserved(flaky)
    whole = encode(event(reservation))
    (tmp_path / "old.segment").write_bytes(b"spoilt\n" + whole + b"\n" + whole[:50])
    spool = Spool(tmp_path)
    assert await spool.replay(flaky.replay) == 1
    assert (tmp_path / UNREADABLE).read_bytes() == b"spoilt\n"
    assert spool.unreadable_total == 1
    assert await spent(flaky) == 7000


async def test_a_full_spool_refuses_aloud(tmp_path: Path) -> None:
    flaky = FlakyLedger()
    reservation = await reserved(flaky)
    flaky.is_down = True
    spool = Spool(tmp_path, largest_bytes=1500)
    ledger = SpoolingLedger(flaky, spool)
    await ledger.settle(reservation, event(reservation))
    with pytest.raises(SpoolRefusedError):
        await ledger.settle(reservation, event(reservation, duration_ms=10**300))
    with pytest.raises(SpoolRefusedError):
        for _ in range(3):
            await ledger.settle(reservation, event(reservation))
    assert spool.refused_total == 2
    flaky.is_down = False
    await spool.replay(flaky.replay)
    await spool.append(event(reservation))
    spool.close()


async def test_a_disk_that_fails_refuses_aloud(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    spool = Spool(tmp_path / "taken")
    reservation = await reserved(FlakyLedger())
    refusals = await asyncio.gather(*(spool.append(event(reservation)) for _ in range(3)), return_exceptions=True)
    assert [type(refusal) for refusal in refusals] == [SpoolRefusedError] * 3
    assert (spool.refused_total, spool.waiting) == (3, 0)


async def test_a_thousand_settlements_at_once_all_reach_the_disk(tmp_path: Path) -> None:
    flaky = FlakyLedger()
    reservations = [await reserved(flaky) for _ in range(1000)]
    spool = Spool(tmp_path)
    await asyncio.gather(*(spool.append(event(reservation)) for reservation in reservations))
    assert await spool.replay(flaky.replay) == 1000
    assert await spent(flaky) == 1000 * 7000

"""How the directory over org_service keeps its memory right: when it asks, and when it does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.change import Change, ChangeKind
from contracts.grant import Grant, Refusal
from router.directory.key_directory import Freshness, OrgKeyDirectory
from router.directory.key_table import Entry, KeyTable
from router.directory.org_client import OrgClient
from router.ports import DirectoryUnavailableError
from tests.fakes.org import FakeOrg, a_grant

HASH = "a" * 64


@dataclass
class Desk:
    """A directory with a clock that the test turns."""

    org: FakeOrg = field(default_factory=FakeOrg)
    seconds: float = 1000.0

    def __post_init__(self) -> None:
        self.client: OrgClient = self.org.client()
        self.directory = OrgKeyDirectory(self.client, clock=lambda: self.seconds)

    async def version(self) -> int:
        grant = await self.directory.find(HASH)
        assert isinstance(grant, Grant)
        return grant.version


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    desk.org.answers[HASH] = a_grant()
    yield desk
    await desk.client.close()


async def test_while_the_feed_is_heard_nothing_is_asked_twice(desk: Desk) -> None:
    for _ in range(1000):
        await desk.directory.find(HASH)
        desk.seconds += 1
        desk.directory.heard()
    assert len(desk.org.asked) == 1


async def test_without_the_feed_a_grant_is_asked_for_again_after_its_time_to_live(desk: Desk) -> None:
    await desk.directory.find(HASH)
    desk.seconds += 59
    await desk.directory.find(HASH)
    assert len(desk.org.asked) == 1
    desk.seconds += 2
    await desk.directory.find(HASH)
    assert len(desk.org.asked) == 2


async def test_without_feed_and_org_service_a_grant_is_served_ten_minutes_and_no_longer(desk: Desk) -> None:
    await desk.directory.find(HASH)
    desk.org.available = False
    desk.seconds += 600
    assert isinstance(await desk.directory.find(HASH), Grant)
    desk.seconds += 1
    with pytest.raises(DirectoryUnavailableError):
        await desk.directory.find(HASH)
    desk.org.available = True
    desk.seconds += 1
    assert isinstance(await desk.directory.find(HASH), Grant)


async def test_while_the_feed_is_heard_an_outage_of_org_service_is_outlived(desk: Desk) -> None:
    await desk.directory.find(HASH)
    desk.org.available = False
    for _ in range(1200):
        desk.seconds += 1
        desk.directory.heard()
    assert isinstance(await desk.directory.find(HASH), Grant)


async def test_the_ten_minutes_of_a_doubtful_grant_begin_with_the_doubt(desk: Desk) -> None:
    await desk.directory.find(HASH)
    desk.seconds += 1000
    desk.directory.heard()
    desk.org.available = False
    desk.directory.apply(Change(kind=ChangeKind.PROJECT, id="project_a"))
    desk.seconds += 600
    desk.directory.heard()
    assert isinstance(await desk.directory.find(HASH), Grant)
    desk.seconds += 1
    desk.directory.heard()
    with pytest.raises(DirectoryUnavailableError):
        await desk.directory.find(HASH)


async def test_many_callers_ask_once(desk: Desk) -> None:
    desk.org.gate = asyncio.Event()
    callers = [asyncio.create_task(desk.directory.find(HASH)) for _ in range(100)]
    await asyncio.sleep(0)
    desk.org.gate.set()
    assert all(isinstance(answer, Grant) for answer in await asyncio.gather(*callers))
    assert len(desk.org.asked) == 1


async def test_a_caller_that_goes_away_does_not_take_the_answer_along(desk: Desk) -> None:
    desk.org.gate = asyncio.Event()
    first, second = (asyncio.create_task(desk.directory.find(HASH)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    desk.org.gate.set()
    assert isinstance(await second, Grant)
    assert len(desk.org.asked) == 1


async def test_an_answer_that_a_change_overtook_is_asked_for_again(desk: Desk) -> None:
    def change_once() -> None:
        desk.org.on_asked = None
        desk.org.answers[HASH] = a_grant(version=2)
        desk.directory.apply(Change(kind=ChangeKind.ORGANIZATION, id="organization_a"))

    desk.org.on_asked = change_once
    assert await desk.version() == 2
    assert len(desk.org.asked) == 2


async def test_an_answer_from_before_a_reconnect_is_not_trusted(desk: Desk) -> None:
    def reconnect_once() -> None:
        desk.org.on_asked = None
        desk.org.answers[HASH] = a_grant(version=2)
        desk.directory.distrust()

    desk.org.on_asked = reconnect_once
    assert await desk.version() == 2


async def test_a_key_revoked_while_its_answer_travels_stays_revoked(desk: Desk) -> None:
    desk.org.on_asked = lambda: desk.directory.apply(
        Change(kind=ChangeKind.KEY_REVOKED, id="key_a", key_hash=HASH)
    )
    assert await desk.directory.find(HASH) is Refusal.REVOKED
    assert await desk.directory.find(HASH) is Refusal.REVOKED


async def test_an_unknown_key_is_asked_for_again_after_a_few_seconds_even_with_the_feed(desk: Desk) -> None:
    stranger = "f" * 64
    for _ in range(5):
        desk.directory.heard()
        assert await desk.directory.find(stranger) is Refusal.UNKNOWN
        desk.seconds += 1
    assert len(desk.org.asked) == 1
    desk.seconds += 1
    await desk.directory.find(stranger)
    assert len(desk.org.asked) == 2


async def test_an_unknown_key_becomes_unavailable_and_not_unauthorized_in_an_outage(desk: Desk) -> None:
    stranger = "f" * 64
    assert await desk.directory.find(stranger) is Refusal.UNKNOWN
    desk.org.available = False
    desk.seconds += 6
    with pytest.raises(DirectoryUnavailableError):
        await desk.directory.find(stranger)


async def test_a_service_that_failed_is_left_alone_for_a_moment(desk: Desk) -> None:
    await desk.directory.find(HASH)
    desk.org.available = False
    desk.seconds += 61
    assert isinstance(await desk.directory.find(HASH), Grant)
    desk.org.available = True
    desk.org.asked.clear()
    await desk.directory.find(HASH)
    assert desk.org.asked == []
    desk.seconds += 1
    await desk.directory.find(HASH)
    assert desk.org.asked == [HASH]


async def test_a_changed_key_is_asked_for_ahead_so_that_running_streams_notice(desk: Desk) -> None:
    grant = await desk.directory.find(HASH)
    assert isinstance(grant, Grant)
    desk.org.answers[HASH] = Refusal.EXPIRED
    desk.directory.apply(Change(kind=ChangeKind.KEY, id="key_a"))
    async with asyncio.timeout(5):
        while desk.directory.is_live(grant):  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_a_service_that_refuses_our_token_is_an_outage_and_no_verdict_on_keys(desk: Desk) -> None:
    wrong = OrgClient("http://org.test", "another token", transport=desk.client._http._transport)
    with pytest.raises(DirectoryUnavailableError):
        await OrgKeyDirectory(wrong).find(HASH)
    await wrong.close()


async def test_memory_is_bounded_and_strangers_push_no_tenant_out() -> None:
    org = FakeOrg(answers={HASH: a_grant()})
    client = org.client()
    directory = OrgKeyDirectory(client, Freshness(capacity=20))
    await directory.find(HASH)
    for number in range(100):
        await directory.find(f"{number:064x}")
    await directory.find(HASH)
    assert org.asked.count(HASH) == 1
    await client.close()


STEPS = st.tuples(st.sampled_from(["grant", "unknown", "revoked", "get"]), st.integers(0, 9))


@settings(max_examples=100)
@given(st.lists(STEPS, max_size=60))
def test_the_table_finds_by_level_exactly_what_it_holds(steps: list[tuple[str, int]]) -> None:
    table = KeyTable(capacity=4)
    for what, number in steps:
        answers = {"grant": a_grant(str(number % 3)), "unknown": Refusal.UNKNOWN, "revoked": Refusal.REVOKED}
        if what == "get":
            table.get(str(number))
        else:
            table.put(str(number), Entry(answers[what], 0.0))
    held = {key_hash: table.get(key_hash) for key_hash in table.hashes()}
    assert sum(1 for entry in held.values() if entry and entry.answer is not Refusal.UNKNOWN) <= 4
    for name in "012":
        wanted = {
            key_hash
            for key_hash, entry in held.items()
            if entry and isinstance(entry.answer, Grant) and entry.answer.project_id == f"project_{name}"
        }
        assert table.below(f"project_{name}") == wanted

"""What every key directory promises: the twin in memory and the one over org_service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest

from contracts.change import Change, ChangeKind
from contracts.grant import Grant, Refusal
from router.directory.key_directory import OrgKeyDirectory
from router.directory.memory_key_directory import MemoryKeyDirectory
from router.ports import DirectoryUnavailableError, KeyDirectory
from tests.fakes.org import FakeOrg, a_grant

HASH = "a" * 64
OTHER = "b" * 64


class Desk(Protocol):
    """A directory, and the administrator's side of it."""

    directory: KeyDirectory
    now: datetime

    def put(self, key_hash: str, answer: Grant | Refusal) -> None: ...

    def tell(self, change: Change) -> None: ...

    def cut_off(self) -> None: ...


class MemoryDesk:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.directory = MemoryKeyDirectory(lambda: self.now)

    def put(self, key_hash: str, answer: Grant | Refusal) -> None:
        self.directory.put(key_hash, answer)

    def tell(self, change: Change) -> None:
        self.directory.apply(change)

    def cut_off(self) -> None:
        self.directory.available = False


class OrgDesk:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.org = FakeOrg()
        self.client = self.org.client()
        self.directory = OrgKeyDirectory(self.client, now=lambda: self.now)

    def put(self, key_hash: str, answer: Grant | Refusal) -> None:
        self.org.answers[key_hash] = answer

    def tell(self, change: Change) -> None:
        self.directory.apply(change)
        self.directory.heard()

    def cut_off(self) -> None:
        self.org.available = False


@pytest.fixture(params=["memory", "org"])
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    if request.param == "memory":
        yield MemoryDesk()
        return
    desk = OrgDesk()
    yield desk
    await desk.client.close()


def revoked(key_hash: str) -> Change:
    return Change(kind=ChangeKind.KEY_REVOKED, id="key_a", key_hash=key_hash)


async def test_a_known_key_is_found(desk: Desk) -> None:
    desk.put(HASH, a_grant())
    grant = await desk.directory.find(HASH)
    assert isinstance(grant, Grant)
    assert (grant.key_id, grant.key_hash) == ("key_a", HASH)
    assert desk.directory.is_live(grant)


async def test_an_unknown_key_is_refused(desk: Desk) -> None:
    assert await desk.directory.find(HASH) is Refusal.UNKNOWN


async def test_a_refusal_is_passed_on(desk: Desk) -> None:
    desk.put(HASH, Refusal.ARCHIVED)
    assert await desk.directory.find(HASH) is Refusal.ARCHIVED


async def test_a_key_seen_before_is_served_while_org_service_is_away(desk: Desk) -> None:
    desk.put(HASH, a_grant())
    await desk.directory.find(HASH)
    desk.cut_off()
    assert isinstance(await desk.directory.find(HASH), Grant)


async def test_a_key_never_seen_is_not_refused_while_org_service_is_away(desk: Desk) -> None:
    desk.put(HASH, a_grant())
    desk.cut_off()
    with pytest.raises(DirectoryUnavailableError):
        await desk.directory.find(HASH)


async def test_a_revocation_needs_no_question(desk: Desk) -> None:
    desk.put(HASH, a_grant())
    grant = await desk.directory.find(HASH)
    assert isinstance(grant, Grant)
    desk.cut_off()
    desk.tell(revoked(HASH))
    assert await desk.directory.find(HASH) is Refusal.REVOKED
    assert not desk.directory.is_live(grant)


async def test_a_key_revoked_before_it_was_seen_stays_revoked(desk: Desk) -> None:
    desk.put(HASH, a_grant())
    desk.tell(revoked(HASH))
    assert await desk.directory.find(HASH) is Refusal.REVOKED


async def test_one_revoked_secret_leaves_the_other_of_the_same_key_alive(desk: Desk) -> None:
    desk.put(HASH, a_grant())
    desk.put(OTHER, a_grant())
    old, new = await desk.directory.find(HASH), await desk.directory.find(OTHER)
    assert isinstance(old, Grant)
    assert isinstance(new, Grant)
    desk.tell(revoked(HASH))
    assert not desk.directory.is_live(old)
    assert desk.directory.is_live(new)


async def test_a_key_expires_by_the_clock_alone(desk: Desk) -> None:
    desk.put(HASH, a_grant(expires_at=desk.now + timedelta(seconds=10)))
    grant = await desk.directory.find(HASH)
    assert isinstance(grant, Grant)
    desk.cut_off()
    desk.now += timedelta(seconds=10)
    assert await desk.directory.find(HASH) is Refusal.EXPIRED
    assert not desk.directory.is_live(grant)


async def test_a_changed_key_is_seen_as_changed(desk: Desk) -> None:
    desk.put(HASH, a_grant(version=1))
    await desk.directory.find(HASH)
    desk.put(HASH, a_grant(version=2))
    desk.tell(Change(kind=ChangeKind.PROJECT, id="project_a"))
    grant = await desk.directory.find(HASH)
    assert isinstance(grant, Grant)
    assert grant.version == 2


async def test_a_new_key_is_found_although_it_was_unknown_a_moment_ago(desk: Desk) -> None:
    assert await desk.directory.find(HASH) is Refusal.UNKNOWN
    desk.put(HASH, a_grant())
    desk.tell(Change(kind=ChangeKind.KEY, id="key_a", key_hash=HASH))
    assert isinstance(await desk.directory.find(HASH), Grant)

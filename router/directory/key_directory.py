"""Who is behind a key, from memory.

An answer is trusted while the change feed is heard: whatever changes is told within a second. Without the feed
it is asked for again when its time to live is over; without org_service as well it is served stale for a bounded
time. A change makes answers doubtful, so that the next use asks first. A revocation needs no asking and is final.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from contracts.change import Change, ChangeKind
from contracts.grant import Grant, Refusal
from router.directory.key_table import Answer, Entry, KeyTable
from router.directory.key_uses import KeyUses
from router.directory.org_client import OrgClient, OrgUnavailableError
from router.ports import DirectoryUnavailableError

_ATTEMPTS: Final = 3
"""How often an answer that a change overtook is asked for again before it is kept as doubtful."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """How long answers are good for. `retry_seconds`: after a failure org_service is left alone for so long."""

    live_seconds: float = 60.0
    unknown_seconds: float = 5.0
    stale_seconds: float = 600.0
    retry_seconds: float = 1.0
    capacity: int = 100_000


def utc_now() -> datetime:
    return datetime.now(UTC)


class OrgKeyDirectory:
    """The KeyDirectory over org_service. The duty that follows the feed calls `apply`, `heard` and `distrust`."""

    def __init__(
        self,
        org: OrgClient,
        freshness: Freshness = Freshness(),
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._org = org
        self._freshness = freshness
        self._clock = clock
        self._now = now
        self._table = KeyTable(freshness.capacity)
        self.uses = KeyUses(freshness.capacity)
        self._flights: dict[str, asyncio.Task[Answer | None]] = {}
        self._overtaken: set[str] = set()
        self._heard_at = -freshness.stale_seconds
        self._retry_at = 0.0

    async def find(self, key_hash: str) -> Answer:
        """See router.ports.KeyDirectory."""
        entry = self._table.get(key_hash)
        if entry is None or self._is_due(entry):
            fresh = await self._ask(key_hash)
            return self._stale(key_hash) if fresh is None else self._unexpired(fresh)
        return self._unexpired(entry.answer)

    def is_live(self, grant: Grant) -> bool:
        entry = self._table.get(grant.key_hash)
        return isinstance(self._unexpired(grant if entry is None else entry.answer), Grant)

    def used(self, grant: Grant, at: datetime) -> None:
        self.uses.note(grant, at)

    def heard(self) -> None:
        """The feed said something: what is not doubtful is as good as new."""
        self._heard_at = self._clock()

    def distrust(self) -> None:
        """The feed may have missed something: ask about each key again before its next use."""
        self._doubt(self._table.hashes())
        self._overtaken.update(self._flights)

    def apply(self, change: Change) -> None:
        """Take a change to heart, at once and without waiting for anybody."""
        if change.kind is ChangeKind.KEY_REVOKED:
            self._bury(change)
            return
        touched = self._table.below(change.id)
        if change.key_hash is not None:
            touched.add(change.key_hash)
        self._doubt(touched)
        self._overtaken.update(self._flights)
        if change.kind is ChangeKind.KEY:
            self._ask_ahead(touched)

    def _bury(self, change: Change) -> None:
        hashes = {change.key_hash} if change.key_hash is not None else self._table.below(change.id)
        for key_hash in hashes:
            self._table.put(key_hash, Entry(Refusal.REVOKED, self._clock()))

    def _doubt(self, hashes: Iterable[str]) -> None:
        for key_hash in hashes:
            entry = self._table.get(key_hash)
            if entry is not None and not entry.doubtful:
                entry.trusted_at = self._trusted_at(entry)
                entry.doubtful = True

    def _ask_ahead(self, hashes: Iterable[str]) -> None:
        """Running streams ask `is_live` from memory alone: let memory be right soon."""
        for key_hash in hashes:
            entry = self._table.get(key_hash)
            if entry is not None and isinstance(entry.answer, Grant):
                self._flight(key_hash)

    def _trusted_at(self, entry: Entry) -> float:
        return entry.trusted_at if entry.doubtful else max(entry.trusted_at, self._heard_at)

    def _is_due(self, entry: Entry) -> bool:
        if entry.answer is Refusal.REVOKED:
            return False
        if isinstance(entry.answer, Refusal):
            return entry.doubtful or self._clock() - entry.trusted_at > self._freshness.unknown_seconds
        return entry.doubtful or self._clock() - self._trusted_at(entry) > self._freshness.live_seconds

    def _stale(self, key_hash: str) -> Answer:
        """The old answer while org_service is away. That a key is unknown is never said from memory: it may have
        been made a moment ago."""
        entry = self._table.get(key_hash)
        if entry is None or entry.answer is Refusal.UNKNOWN:
            raise DirectoryUnavailableError("the key is not known here")
        if isinstance(entry.answer, Refusal):
            return entry.answer
        if self._clock() - self._trusted_at(entry) > self._freshness.stale_seconds:
            raise DirectoryUnavailableError("what is known of the key is too old")
        return self._unexpired(entry.answer)

    def _unexpired(self, answer: Answer) -> Answer:
        is_over = isinstance(answer, Grant) and answer.expires_at is not None and answer.expires_at <= self._now()
        return Refusal.EXPIRED if is_over else answer

    async def _ask(self, key_hash: str) -> Answer | None:
        """Org_service's answer, asked for once however many wait for it; None where there is none to be had."""
        if key_hash not in self._flights and self._clock() < self._retry_at:
            return None
        return await asyncio.shield(self._flight(key_hash))

    def _flight(self, key_hash: str) -> asyncio.Task[Answer | None]:
        flight = self._flights.get(key_hash)
        if flight is None:
            flight = self._flights[key_hash] = asyncio.create_task(self._fly(key_hash))
        return flight

    async def _fly(self, key_hash: str) -> Answer | None:
        try:
            answer = await self._resolve(key_hash)
            overtaken = key_hash in self._overtaken
        except OrgUnavailableError:
            self._retry_at = self._clock() + self._freshness.retry_seconds
            return None
        finally:
            self._overtaken.discard(key_hash)
            del self._flights[key_hash]
        return self._keep(key_hash, answer, overtaken)

    async def _resolve(self, key_hash: str) -> Answer:
        """An answer that was not overtaken by a change on its way here, if that can be had in a few attempts."""
        for _ in range(_ATTEMPTS):
            self._overtaken.discard(key_hash)
            answer = await self._org.resolve(key_hash)
            if key_hash not in self._overtaken:
                break
        return answer

    def _keep(self, key_hash: str, answer: Answer, doubtful: bool) -> Answer:
        """Whoever was revoked while the answer travelled stays revoked."""
        known = self._table.get(key_hash)
        if known is not None and known.answer is Refusal.REVOKED:
            return Refusal.REVOKED
        self._table.put(key_hash, Entry(answer, self._clock(), doubtful))
        return answer

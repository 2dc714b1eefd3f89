"""The key directory's twin: the answers are given by hand, and org_service can be said to be away."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from contracts.change import Change, ChangeKind
from contracts.grant import Grant, Refusal
from router.directory.key_directory import utc_now
from router.directory.key_table import Answer
from router.ports import DirectoryUnavailableError


class MemoryKeyDirectory:
    """Keeps the promises of router.ports.KeyDirectory; `put` is what org_service would say."""

    def __init__(self, now: Callable[[], datetime] = utc_now) -> None:
        self.available = True
        self._now = now
        self._answers: dict[str, Answer] = {}
        self._seen: dict[str, Answer] = {}
        self.last_used_at: dict[str, datetime] = {}

    def put(self, key_hash: str, answer: Answer) -> None:
        if isinstance(answer, Grant):
            answer = answer.model_copy(update={"key_hash": key_hash})
        self._answers[key_hash] = answer

    async def find(self, key_hash: str) -> Answer:
        if self._seen.get(key_hash) is Refusal.REVOKED:
            return Refusal.REVOKED
        if self.available:
            self._seen[key_hash] = self._answers.get(key_hash, Refusal.UNKNOWN)
        answer = self._seen.get(key_hash, Refusal.UNKNOWN)
        if not self.available and answer is Refusal.UNKNOWN:
            raise DirectoryUnavailableError("the key is not known here")
        return self._unexpired(answer)

    def is_live(self, grant: Grant) -> bool:
        return isinstance(self._unexpired(self._seen.get(grant.key_hash, grant)), Grant)

    def used(self, grant: Grant, at: datetime) -> None:
        self.last_used_at[grant.key_id] = at

    def apply(self, change: Change) -> None:
        if change.kind is ChangeKind.KEY_REVOKED and change.key_hash is not None:
            self._seen[change.key_hash] = Refusal.REVOKED

    def _unexpired(self, answer: Answer) -> Answer:
        is_over = isinstance(answer, Grant) and answer.expires_at is not None and answer.expires_at <= self._now()
        return Refusal.EXPIRED if is_over else answer

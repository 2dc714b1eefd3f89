"""What is remembered about keys: bounded, least recently used out first, found by hash and by level id."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from contracts.grant import Grant, Refusal

Answer = Grant | Refusal


@dataclass(slots=True)
class Entry:
    """`trusted_at` is monotonic; for a doubtful entry, the last moment at which it was surely right."""

    answer: Answer
    trusted_at: float
    doubtful: bool = False


class KeyTable:
    """Strangers (unknown keys) live in a tenth of the room, apart: a flood of them pushes no tenant out."""

    def __init__(self, capacity: int) -> None:
        self._known: OrderedDict[str, Entry] = OrderedDict()
        self._strangers: OrderedDict[str, Entry] = OrderedDict()
        self._capacity = capacity
        self._below: dict[str, set[str]] = {}

    def get(self, key_hash: str) -> Entry | None:
        entry = self._known.get(key_hash)
        if entry is None:
            return self._strangers.get(key_hash)
        self._known.move_to_end(key_hash)
        return entry

    def put(self, key_hash: str, entry: Entry) -> None:
        self._drop(key_hash)
        if entry.answer is Refusal.UNKNOWN:
            self._strangers[key_hash] = entry
            if len(self._strangers) > self._capacity // 10:
                self._strangers.popitem(last=False)
            return
        self._known[key_hash] = entry
        for level_id in _level_ids(entry.answer):
            self._below.setdefault(level_id, set()).add(key_hash)
        if len(self._known) > self._capacity:
            self._drop(next(iter(self._known)))

    def hashes(self) -> list[str]:
        return [*self._known, *self._strangers]

    def below(self, level_id: str) -> set[str]:
        """The keys of an organization, project or owner, or the secrets of a key: ids are unique across kinds."""
        return set(self._below.get(level_id, ()))

    def _drop(self, key_hash: str) -> None:
        self._strangers.pop(key_hash, None)
        old = self._known.pop(key_hash, None)
        if old is None:
            return
        for level_id in _level_ids(old.answer):
            hashes = self._below[level_id]
            hashes.discard(key_hash)
            if not hashes:
                del self._below[level_id]


def _level_ids(answer: Answer) -> tuple[str, ...]:
    if isinstance(answer, Refusal):
        return ()
    return answer.organization_id, answer.project_id, answer.owner_id, answer.key_id

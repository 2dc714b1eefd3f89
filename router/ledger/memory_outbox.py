"""MemoryOutbox: the twin of RedisOutbox, for tests."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from router.ledger.outbox_entry import leaving
from router.ports import OutboxEntry


@dataclass(slots=True)
class MemoryOutbox:
    """One consumer group and one consumer: what was read and not removed is read again."""

    _entries: dict[int, dict[str, bytes]] = field(default_factory=lambda: defaultdict(dict))
    _last_id: int = 0

    def append(self, shard: int, event: bytes, before: bytes | None) -> None:
        self._last_id += 1
        self._entries[shard][f"{self._last_id}-0"] = leaving(event, before)

    async def read(self, shard: int, limit: int) -> list[OutboxEntry]:
        return [OutboxEntry(*entry) for entry in list(self._entries[shard].items())[:limit]]

    async def remove(self, shard: int, entry_ids: list[str]) -> None:
        for entry_id in entry_ids:
            self._entries[shard].pop(entry_id, None)

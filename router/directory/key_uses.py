"""When keys were last used, until org_service was told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from contracts.grant import Grant
from contracts.key_use import KeyUse


class KeyUses:
    """The last use of each key. Noting one is an assignment: every call does it."""

    def __init__(self, capacity: int) -> None:
        self._latest: dict[str, tuple[str, datetime]] = {}
        self._capacity = capacity

    def __len__(self) -> int:
        return len(self._latest)

    def note(self, grant: Grant, at: datetime) -> None:
        self._latest[grant.key_id] = (grant.organization_id, at)

    def batches(self, size: int) -> Iterator[list[KeyUse]]:
        """What is noted now, `size` keys at a time. It stays noted until it is `told`."""
        noted = list(self._latest.items())
        for start in range(0, len(noted), size):
            yield [
                KeyUse(key_id=key_id, organization_id=organization_id, at=at)
                for key_id, (organization_id, at) in noted[start : start + size]
            ]

    def told(self, uses: Iterable[KeyUse]) -> None:
        """Forget these, unless a key was used again meanwhile."""
        for use in uses:
            if self._latest.get(use.key_id) == (use.organization_id, use.at):
                del self._latest[use.key_id]

    def trim(self) -> int:
        """Give up what is beyond the capacity, beginning with the keys noted first; how many that were."""
        excess = max(0, len(self._latest) - self._capacity)
        for key_id in list(self._latest)[:excess]:
            del self._latest[key_id]
        return excess

"""The change feed: what org_service appends so that every router hears of a change within a second.

Each entry is one Redis stream message with a single field, `change`, holding this model as JSON. The stream id
carries the Redis clock of the append, from which followers compute the delay. A HEARTBEAT follows silence.
"""

from __future__ import annotations

from enum import StrEnum

from contracts.wire import Wire


class ChangeKind(StrEnum):
    KEY = "key"  # created, changed, rotated or expired early: ask again
    KEY_REVOKED = "key_revoked"  # dead at once, without asking
    USER = "user"
    PROJECT = "project"
    ORGANIZATION = "organization"
    CATALOG = "catalog"
    HEARTBEAT = "heartbeat"


class Change(Wire):
    """`id` names the changed thing (a key id, project id, ...). `key_hash` is set for KEY_REVOKED, and for KEY
    where one secret of the key is meant and not all of them."""

    kind: ChangeKind
    id: str = ""
    key_hash: str | None = None
    version: int = 0

"""Names that two rooms must agree on: shards, streams, exchange and queues, internal paths."""

from __future__ import annotations

import binascii
from typing import Final

SHARD_COUNT: Final = 64

CHANGE_FEED: Final = "tern:changes"
CHANGE_FIELD: Final = "change"
CHANGE_HEARTBEAT_SECONDS: Final = 1.0

OUTBOX_EVENT_FIELD: Final = "event"
"""An encoded UsageEvent (contracts.usage_event.encode)."""
OUTBOX_BEFORE_FIELD: Final = "before"
"""Only on the settlement of a reaped call: the encoded UsageEvent charged before; what leaves the outbox is
contracts.usage_event.correction(event, before)."""
OUTBOX_GROUP: Final = "drain"

USAGE_EXCHANGE: Final = "tern.usage"
USAGE_ROUTING_KEY: Final = "usage.v1"
USAGE_QUEUE: Final = "tern.usage.analytics"
DEAD_LETTER_EXCHANGE: Final = "tern.usage.dead"
DEAD_LETTER_QUEUE: Final = "tern.usage.dead"

RESOLVE_KEY_PATH: Final = "/internal/v1/keys/resolve"
RESOLVE_ADMIN_KEY_PATH: Final = "/internal/v1/admin_keys/resolve"
CATALOG_PATH: Final = "/internal/v1/catalog"
SPEND_PATH: Final = "/internal/v1/spend"


def shard_of(organization_id: str) -> int:
    """0..63: crc16 (XMODEM, as Redis Cluster uses it) of the organization id, modulo 64."""
    return binascii.crc_hqx(organization_id.encode(), 0) % SHARD_COUNT


def shard_tag(shard: int) -> str:
    """The hash tag that keeps a shard's keys in one Redis Cluster slot, e.g. `{s07}`."""
    return f"{{s{shard:02d}}}"


def outbox_stream(shard: int) -> str:
    return f"tern:{shard_tag(shard)}:outbox"

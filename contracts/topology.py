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
USAGE_EXCHANGE_TYPE: Final = "direct"
DEAD_LETTER_EXCHANGE_TYPE: Final = "fanout"
USAGE_DELIVERY_LIMIT: Final = 20
"""After so many deliveries that ended without an answer, a message is taken for one that kills its reader."""


def usage_queue_arguments() -> dict[str, str | int]:
    """Declared alike by publisher and consumer: a difference is a broker error. `at-least-once`: a message
    leaves the queue for the dead-letter queue only once it is safe there (this needs `reject-publish`)."""
    return {
        "x-queue-type": "quorum",
        "x-overflow": "reject-publish",
        "x-dead-letter-exchange": DEAD_LETTER_EXCHANGE,
        "x-dead-letter-strategy": "at-least-once",
        "x-delivery-limit": USAGE_DELIVERY_LIMIT,
    }


def dead_letter_queue_arguments() -> dict[str, str | int]:
    return {"x-queue-type": "quorum"}


RESOLVE_KEY_PATH: Final = "/internal/v1/keys/resolve"
RESOLVE_ADMIN_KEY_PATH: Final = "/internal/v1/admin_keys/resolve"
KEY_USE_PATH: Final = "/internal/v1/keys/use"
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


def dead_letter_stream(shard: int) -> str:
    """Where a reader of the outbox puts an entry that is no usage event, with its reason."""
    return f"tern:{shard_tag(shard)}:outbox:dead"

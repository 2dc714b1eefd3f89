"""Stop 7: outbox -> broker. Any replica may do it for any shard; only what was confirmed leaves the outbox."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

from router.ports import Broker, Outbox

EVENTS_PER_MESSAGE = 500


@dataclass(frozen=True, slots=True)
class Published:
    """How many events were confirmed, and the shards that may hold more."""

    count: int
    unfinished: frozenset[int]


async def publish(outbox: Outbox, broker: Broker, shards: Collection[int], limit: int) -> Published:
    """Move up to `limit` events of each shard in as few messages as possible.

    Raises BrokerUnavailableError or LedgerUnavailableError; what was read then stays in the outbox and is read
    again, so an event may leave twice but is never lost.
    """
    batches = await asyncio.gather(*(outbox.read(shard, limit) for shard in shards))
    found = {shard: entries for shard, entries in zip(shards, batches, strict=True) if entries}
    events = [entry.event for entries in found.values() for entry in entries]
    for start in range(0, len(events), EVENTS_PER_MESSAGE):
        await broker.publish(events[start : start + EVENTS_PER_MESSAGE])
    removals = (outbox.remove(shard, [entry.entry_id for entry in entries]) for shard, entries in found.items())
    await asyncio.gather(*removals)
    return Published(len(events), frozenset(shard for shard, entries in found.items() if len(entries) >= limit))

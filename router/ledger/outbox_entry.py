"""What an outbox entry becomes when it leaves: the event, or the correction of one that was charged before."""

from __future__ import annotations

import json

from contracts.usage_event import MalformedEventError, correction, decode, encode


def leaving(event: bytes, before: bytes | None) -> bytes:
    """The encoded event, or the encoded difference between a late settlement and what its reaped event charged.

    A correction that cannot be computed leaves as an element that no reader takes for an event: analytics puts it
    into the dead-letter queue, where somebody sees it, and its neighbours pass.
    """
    if before is None:
        return event
    try:
        return encode(correction(decode(json.loads(event)), decode(json.loads(before))))
    except (MalformedEventError, ValueError):
        unreadable = {"event": event.decode(errors="replace"), "before": before.decode(errors="replace")}
        return json.dumps({"type": "tern.usage.unreadable", "data": unreadable}).encode()

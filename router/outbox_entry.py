"""What an outbox entry becomes when it leaves: the event, or the correction of one that was charged before."""

from __future__ import annotations

import json

from contracts.usage_event import correction, decode, encode


def corrected(event: bytes, before: bytes) -> bytes:
    """The encoded difference between a late settlement and what its reaped event charged."""
    return encode(correction(decode(json.loads(event)), decode(json.loads(before))))

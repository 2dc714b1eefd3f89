"""Ids that sort by time: a prefix and 26 characters of Crockford base32 (48 bits of ms, 80 random bits)."""

from __future__ import annotations

import secrets
import time
from typing import Final

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH: Final = 26
_RANDOM_BITS: Final = 80


def new_id(prefix: str) -> str:
    """A new id, e.g. `proj_01jd...`; ids of one prefix sort by the ms of their making."""
    number = time.time_ns() // 1_000_000 << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    digits = []
    for _ in range(_LENGTH):
        number, digit = divmod(number, 32)
        digits.append(_ALPHABET[digit])
    return f"{prefix}_{''.join(reversed(digits))}"

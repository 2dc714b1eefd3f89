"""API keys: `<prefix>_<43 base62 characters><6 base62 characters of CRC-32>`.

The body carries 256 random bits, so a plain SHA-256 is a safe index: nothing shorter than the key can be
guessed from it. The checksum covers prefix and body; it lets a router refuse typing errors and scanner noise
without asking anyone, and lets secret scanners recognise a leaked key offline. It is not a security feature.
"""

from __future__ import annotations

import hashlib
import secrets
import zlib
from enum import StrEnum
from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LETTERS: Final = frozenset(ALPHABET)
BODY_LENGTH: Final = 43
CHECKSUM_LENGTH: Final = 6


class KeyKind(StrEnum):
    """Who a key speaks for; the value is the prefix of the secret."""

    USER = "tern_sk"
    SERVICE_ACCOUNT = "tern_svc"
    ADMIN = "tern_admin"


class MalformedKeyError(ValueError):
    """The text cannot be a key of ours; the message says why and never repeats the text."""


def generate(kind: KeyKind) -> str:
    """A new secret. Shown once, stored nowhere: keep `digest(secret)`."""
    body = _base62(secrets.randbits(256), BODY_LENGTH)
    return f"{kind}_{body}{_checksum(f'{kind}_{body}')}"


def parse(secret: str) -> KeyKind:
    """The kind of a well-formed secret; raises MalformedKeyError otherwise."""
    prefix, _, rest = secret.rpartition("_")
    try:
        kind = KeyKind(prefix)
    except ValueError:
        raise MalformedKeyError("unknown prefix") from None
    if len(rest) != BODY_LENGTH + CHECKSUM_LENGTH or not _LETTERS.issuperset(rest):
        raise MalformedKeyError("wrong length or characters")
    if _checksum(secret[:-CHECKSUM_LENGTH]) != secret[-CHECKSUM_LENGTH:]:
        raise MalformedKeyError("wrong checksum")
    return kind


def digest(secret: str) -> str:
    """SHA-256 of the whole secret, lower-case hex: what is stored and looked up."""
    return hashlib.sha256(secret.encode()).hexdigest()


def redact(secret: str) -> str:
    """What lists show: prefix, first four and last four characters."""
    prefix, _, rest = secret.rpartition("_")
    return f"{prefix}_{rest[:4]}...{rest[-4:]}"


def _checksum(text: str) -> str:
    return _base62(zlib.crc32(text.encode()), CHECKSUM_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))

"""The opaque `page`: where the next page starts and which question it belongs to, signed.

A token for one question is refused for another, so that a client that changes a filter half-way gets an error
instead of numbers that do not fit together. `end` is pinned by the first page: a walk over pages sees each bucket
once, even when no `end_time` was given and time goes on.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any, Final

PREFIX: Final = "page_"
SIGNATURE_BYTES: Final = 16


class ForeignPageError(ValueError):
    """Not made by us, or for another question."""


@dataclass(frozen=True, slots=True)
class Page:
    start: int
    end: int


class PageSigner:
    """Tokens of all replicas that share a secret are interchangeable."""

    def __init__(self, secret: str) -> None:
        self._key = hmac.digest(secret.encode(), b"tern.analytics.page", "sha256")

    def sign(self, page: Page, question: dict[str, Any]) -> str:
        body = f"{page.start}.{page.end}".encode()
        return PREFIX + base64.urlsafe_b64encode(self._signature(body, question) + body).decode().rstrip("=")

    def open(self, token: str, question: dict[str, Any]) -> Page:
        """Raises ForeignPageError."""
        try:
            text = token.removeprefix(PREFIX)
            signed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except ValueError:
            raise ForeignPageError from None
        signature, body = signed[:SIGNATURE_BYTES], signed[SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._signature(body, question)):
            raise ForeignPageError
        start, _, end = body.decode().partition(".")
        return Page(int(start), int(end))

    def _signature(self, body: bytes, question: dict[str, Any]) -> bytes:
        text = json.dumps(question, sort_keys=True).encode()
        return hmac.digest(self._key, hashlib.sha256(text).digest() + body, "sha256")[:SIGNATURE_BYTES]

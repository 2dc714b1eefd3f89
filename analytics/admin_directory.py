"""Who is behind an admin key: asked of org_service, remembered for a short time."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

import httpx2
from pydantic import ValidationError

from analytics.errors import DirectoryUnavailableError
from contracts.grant import AdminIdentity, AdminResolution, Refusal, ResolveRequest
from contracts.topology import RESOLVE_ADMIN_KEY_PATH

CACHE_ENTRIES: Final = 10_000
REFUSAL_CACHE_SECONDS: Final = 2.0
"""Long enough to shield org_service from a client that repeats a dead key, short enough for a new one."""


class AdminDirectory(Protocol):
    async def find(self, key_hash: str) -> AdminIdentity | Refusal:
        """Raises DirectoryUnavailableError when org_service does not answer and nothing fresh is known."""
        ...


class MemoryAdminDirectory:
    """The twin: what a test says."""

    def __init__(self, identities: dict[str, AdminIdentity] | None = None) -> None:
        self.identities = identities or {}
        self.available = True

    async def find(self, key_hash: str) -> AdminIdentity | Refusal:
        if not self.available:
            raise DirectoryUnavailableError("switched off")
        return self.identities.get(key_hash, Refusal.UNKNOWN)


class HttpAdminDirectory:
    """Asks org_service with a service token; `client` carries its address and timeout."""

    def __init__(self, client: httpx2.AsyncClient, service_token: str) -> None:
        self._client = client
        self._headers = {"authorization": f"Bearer {service_token}"}

    async def find(self, key_hash: str) -> AdminIdentity | Refusal:
        body = ResolveRequest(key_hash=key_hash).model_dump()
        try:
            reply = await self._client.post(RESOLVE_ADMIN_KEY_PATH, json=body, headers=self._headers)
            reply.raise_for_status()
            resolution = AdminResolution.model_validate_json(reply.content)
        except (httpx2.HTTPError, ValidationError) as error:
            raise DirectoryUnavailableError(f"{type(error).__name__}: {error}") from error
        return resolution.identity or resolution.refusal or Refusal.UNKNOWN


class CachedAdminDirectory:
    """Remembers answers, so that a page of charts asks org_service once; a revoked key is gone after
    `cache_seconds` at the latest."""

    def __init__(
        self, origin: AdminDirectory, cache_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._origin = origin
        self._cache_seconds = cache_seconds
        self._clock = clock
        self._answers: OrderedDict[str, tuple[float, AdminIdentity | Refusal]] = OrderedDict()

    async def find(self, key_hash: str) -> AdminIdentity | Refusal:
        now = self._clock()
        remembered = self._answers.get(key_hash)
        if remembered is not None and now < remembered[0]:
            return remembered[1]
        answer = await self._origin.find(key_hash)
        lifetime = REFUSAL_CACHE_SECONDS if isinstance(answer, Refusal) else self._cache_seconds
        self._remember(key_hash, now + min(lifetime, self._cache_seconds), answer)
        return answer

    def _remember(self, key_hash: str, until: float, answer: AdminIdentity | Refusal) -> None:
        self._answers[key_hash] = (until, answer)
        self._answers.move_to_end(key_hash)
        while len(self._answers) > CACHE_ENTRIES:
            self._answers.popitem(last=False)

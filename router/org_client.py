"""The router's questions to org_service. The only file that knows they travel over HTTP."""

from __future__ import annotations

from typing import TypeVar

import httpx2
from pydantic import BaseModel, ValidationError

from contracts.catalog import Catalog
from contracts.grant import Grant, Refusal, Resolution, ResolveRequest
from contracts.topology import CATALOG_PATH, RESOLVE_KEY_PATH

Answer = TypeVar("Answer", bound=BaseModel)


class OrgUnavailableError(Exception):
    """No usable answer: away, too slow, or not what was agreed. The message says which."""


class OrgClient:
    """`close` it when done."""

    def __init__(
        self,
        base_url: str,
        service_token: str,
        timeout_seconds: float = 3.0,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx2.AsyncClient(
            base_url=base_url,
            headers={"authorization": f"Bearer {service_token}"},
            timeout=timeout_seconds,
            transport=transport,
            trust_env=False,
        )

    async def resolve(self, key_hash: str) -> Grant | Refusal:
        """The grant behind a key, or why there is none; raises OrgUnavailableError."""
        resolution = await self._ask("POST", RESOLVE_KEY_PATH, Resolution, ResolveRequest(key_hash=key_hash))
        answer = resolution.grant or resolution.refusal
        if answer is None:
            raise OrgUnavailableError("a resolution with neither grant nor refusal")
        return answer.model_copy(update={"key_hash": key_hash}) if isinstance(answer, Grant) else answer

    async def catalog(self) -> Catalog:
        """The catalog as it is now; raises OrgUnavailableError."""
        return await self._ask("GET", CATALOG_PATH, Catalog)

    async def _ask(self, method: str, path: str, answer: type[Answer], body: BaseModel | None = None) -> Answer:
        try:
            reply = await self._http.request(method, path, json=None if body is None else body.model_dump())
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise OrgUnavailableError(f"{type(error).__name__} on {path}") from error
        if reply.status_code != httpx2.codes.OK:
            raise OrgUnavailableError(f"status {reply.status_code} on {path}")
        try:
            return answer.model_validate_json(reply.content)
        except ValidationError as error:
            raise OrgUnavailableError(f"unreadable answer on {path}") from error

    async def close(self) -> None:
        await self._http.aclose()

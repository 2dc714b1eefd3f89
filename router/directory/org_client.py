"""The router's questions to org_service. The only file that knows they travel over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

import httpx2
from pydantic import BaseModel, ValidationError

from contracts.catalog import Catalog
from contracts.grant import Grant, Refusal, Resolution, ResolveRequest
from contracts.key_use import KeyUse, KeyUseReport
from contracts.topology import CATALOG_PATH, KEY_USE_PATH, RESOLVE_KEY_PATH

Answer = TypeVar("Answer", bound=BaseModel)
JSON: Final = {"content-type": "application/json"}


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

    async def report_uses(self, uses: Sequence[KeyUse]) -> None:
        """When keys were last used, at most KEY_USES_PER_REPORT of them; raises OrgUnavailableError."""
        await self._request("POST", KEY_USE_PATH, KeyUseReport(uses=tuple(uses)))

    async def _ask(self, method: str, path: str, answer: type[Answer], body: BaseModel | None = None) -> Answer:
        reply = await self._request(method, path, body)
        try:
            return answer.model_validate_json(reply.content)
        except ValidationError as error:
            raise OrgUnavailableError(f"unreadable answer on {path}") from error

    async def _request(self, method: str, path: str, body: BaseModel | None) -> httpx2.Response:
        content, headers = (None, None) if body is None else (body.model_dump_json(), JSON)
        try:
            reply = await self._http.request(method, path, content=content, headers=headers)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise OrgUnavailableError(f"{type(error).__name__} on {path}") from error
        if not reply.is_success:
            raise OrgUnavailableError(f"status {reply.status_code} on {path}")
        return reply

    async def close(self) -> None:
        await self._http.aclose()

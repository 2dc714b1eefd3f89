"""An org_service of one file: answers are put by hand, it counts what it was asked, and it can be away or slow."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import httpx2

from contracts.catalog import Catalog
from contracts.grant import Grant, Level, LevelKind, OwnerKind, Refusal, Resolution
from contracts.key_use import KeyUse, KeyUseReport
from contracts.topology import CATALOG_PATH, KEY_USE_PATH
from router.directory.org_client import OrgClient

TOKEN = "service-token-of-the-tests"


def a_grant(name: str = "a", expires_at: datetime | None = None, version: int = 1) -> Grant:
    """A grant whose ids end in `name`."""
    ids = {kind: f"{kind.value}_{name}" for kind in LevelKind}
    levels = tuple(Level(kind=kind, id=ids[kind]) for kind in LevelKind)
    return Grant(
        key_id=ids[LevelKind.KEY],
        organization_id=ids[LevelKind.ORGANIZATION],
        project_id=ids[LevelKind.PROJECT],
        owner_kind=OwnerKind.USER,
        owner_id=ids[LevelKind.USER],
        expires_at=expires_at,
        levels=(levels[0], levels[1], levels[2], levels[3]),
        version=version,
    )


@dataclass
class FakeOrg:
    """`gate`, when set, holds every answer back until it is released; the answer is read before the wait."""

    answers: dict[str, Grant | Refusal] = field(default_factory=dict)
    catalog: Catalog = field(default_factory=Catalog)
    available: bool = True
    asked: list[str] = field(default_factory=list)
    uses: list[KeyUse] = field(default_factory=list)
    gate: asyncio.Event | None = None
    on_asked: Callable[[], None] | None = None

    def client(self) -> OrgClient:
        return OrgClient("http://org.test", TOKEN, transport=httpx2.MockTransport(self._answer))

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        if not self.available:
            raise httpx2.ConnectError("away", request=request)
        if request.headers["authorization"] != f"Bearer {TOKEN}":
            return httpx2.Response(401)
        if request.url.path == CATALOG_PATH:
            return httpx2.Response(200, content=self.catalog.model_dump_json())
        if request.url.path == KEY_USE_PATH:
            return await self._note(KeyUseReport.model_validate_json(request.content))
        return await self._resolve(json.loads(request.content)["key_hash"])

    async def _note(self, report: KeyUseReport) -> httpx2.Response:
        self.uses += report.uses
        if self.gate is not None:
            await self.gate.wait()
        return httpx2.Response(204)

    async def _resolve(self, key_hash: str) -> httpx2.Response:
        self.asked.append(key_hash)
        answer = self.answers.get(key_hash, Refusal.UNKNOWN)
        if self.on_asked is not None:
            self.on_asked()
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(answer, Grant):
            return httpx2.Response(200, content=Resolution(grant=answer).model_dump_json())
        return httpx2.Response(200, content=Resolution(refusal=answer).model_dump_json())

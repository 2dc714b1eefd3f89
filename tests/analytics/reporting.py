"""The API under test, in process or on a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from fastapi import FastAPI

from analytics.admin_directory import MemoryAdminDirectory
from analytics.db import Database
from analytics.record import DatabaseRecorder, Recorded
from contracts.api_key import KeyKind, digest, generate
from contracts.grant import AdminIdentity
from contracts.usage_event import UsageEvent


class Admins:
    """A directory with an admin key for each organization that is asked for."""

    def __init__(self) -> None:
        self.directory = MemoryAdminDirectory()
        self._keys: dict[str, str] = {}

    def key(self, organization_id: str) -> str:
        if organization_id not in self._keys:
            key = generate(KeyKind.ADMIN)
            identity = AdminIdentity(key_id=f"adm_{organization_id}", organization_id=organization_id)
            self.directory.identities[digest(key)] = identity
            self._keys[organization_id] = key
        return self._keys[organization_id]


@asynccontextmanager
async def client_of(app: FastAPI, key: str | None = None) -> AsyncIterator[httpx2.AsyncClient]:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    transport = httpx2.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://analytics", headers=headers) as client,
    ):
        yield client


async def record(database_url: str, events: Sequence[UsageEvent]) -> Recorded:
    database = Database(database_url, pool_size=1, timeout_seconds=10)
    await database.open()
    try:
        await database.ask(
            "ensure_partitions",
            {
                "from_at": min(event.occurred_at for event in events),
                "until_at": max(event.occurred_at for event in events),
            },
        )
        return await DatabaseRecorder(database).record(events)
    finally:
        await database.close()


async def walk(client: httpx2.AsyncClient, path: str, **params: Any) -> list[dict[str, Any]]:
    """All buckets of all pages."""
    buckets: list[dict[str, Any]] = []
    while True:
        reply = await client.get(path, params=params)
        assert reply.status_code == 200, reply.text
        page = reply.json()
        assert page["object"] == "page"
        buckets += page["data"]
        assert page["has_more"] == (page["next_page"] is not None)
        if not page["has_more"]:
            return buckets
        params["page"] = page["next_page"]

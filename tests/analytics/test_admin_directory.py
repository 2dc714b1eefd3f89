"""Whose key it is: one suite for the twin and the real adapter, and a memory that forgets in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from analytics.admin_directory import (
    AdminDirectory,
    CachedAdminDirectory,
    HttpAdminDirectory,
    MemoryAdminDirectory,
)
from analytics.errors import DirectoryUnavailableError
from contracts.grant import AdminIdentity, AdminResolution, Refusal
from contracts.topology import RESOLVE_ADMIN_KEY_PATH
from tests.fakes.serving import served

KNOWN, REVOKED, UNKNOWN = "a" * 64, "b" * 64, "c" * 64
IDENTITY = AdminIdentity(key_id="adm_1", organization_id="org_a")


class OrgService:
    """Answers as org_service does, and can be told to misbehave."""

    def __init__(self) -> None:
        self.answers: dict[str, AdminResolution] = {
            KNOWN: AdminResolution(identity=IDENTITY),
            REVOKED: AdminResolution(refusal=Refusal.REVOKED),
        }
        self.fault: Response | None = None
        self.asked = 0

    def app(self) -> Any:
        return Starlette(routes=[Route(RESOLVE_ADMIN_KEY_PATH, self._resolve, methods=["POST"])])

    async def _resolve(self, request: Request) -> Response:
        self.asked += 1
        if request.headers["authorization"] != "Bearer token":
            return JSONResponse({}, 401)
        if self.fault is not None:
            return self.fault
        key_hash = (await request.json())["key_hash"]
        answer = self.answers.get(key_hash, AdminResolution(refusal=Refusal.UNKNOWN))
        return JSONResponse(answer.model_dump(mode="json"))


@pytest.fixture
def org_service() -> OrgService:
    return OrgService()


@pytest.fixture
async def http_directory(org_service: OrgService) -> AsyncIterator[HttpAdminDirectory]:
    async with served(org_service.app()) as (url, _), httpx2.AsyncClient(base_url=url, timeout=2) as client:
        yield HttpAdminDirectory(client, "token")


@pytest.fixture(params=["memory", "http"])
def directory(request: pytest.FixtureRequest, http_directory: HttpAdminDirectory) -> AdminDirectory:
    if request.param == "http":
        return http_directory
    return MemoryAdminDirectory({KNOWN: IDENTITY})


async def test_a_known_key_has_its_identity(directory: AdminDirectory) -> None:
    assert await directory.find(KNOWN) == IDENTITY


async def test_an_unknown_key_is_refused(directory: AdminDirectory) -> None:
    assert await directory.find(UNKNOWN) is Refusal.UNKNOWN


async def test_the_reason_of_a_refusal_is_kept(http_directory: HttpAdminDirectory) -> None:
    assert await http_directory.find(REVOKED) is Refusal.REVOKED


@pytest.mark.parametrize(
    "fault", [JSONResponse({}, 500), Response("<html>"), JSONResponse({"identity": 5}), JSONResponse({}, 401)]
)
async def test_an_answer_that_makes_no_sense_is_no_refusal(
    http_directory: HttpAdminDirectory, org_service: OrgService, fault: Response
) -> None:
    org_service.fault = fault
    with pytest.raises(DirectoryUnavailableError):
        await http_directory.find(KNOWN)


async def test_nobody_there_is_no_refusal() -> None:
    async with httpx2.AsyncClient(base_url="http://127.0.0.1:9") as client:
        with pytest.raises(DirectoryUnavailableError):
            await HttpAdminDirectory(client, "token").find(KNOWN)


async def test_a_revoked_key_is_gone_within_the_cache_time(
    http_directory: HttpAdminDirectory, org_service: OrgService
) -> None:
    time = 0.0
    cached = CachedAdminDirectory(http_directory, 30.0, clock=lambda: time)
    assert await cached.find(KNOWN) == IDENTITY
    org_service.answers[KNOWN] = AdminResolution(refusal=Refusal.REVOKED)
    time = 29.9
    assert await cached.find(KNOWN) == IDENTITY
    assert org_service.asked == 1
    time = 30.0
    assert await cached.find(KNOWN) is Refusal.REVOKED


async def test_a_new_key_works_soon_after_it_was_tried_too_early(
    http_directory: HttpAdminDirectory, org_service: OrgService
) -> None:
    time = 0.0
    cached = CachedAdminDirectory(http_directory, 30.0, clock=lambda: time)
    assert await cached.find(UNKNOWN) is Refusal.UNKNOWN
    org_service.answers[UNKNOWN] = AdminResolution(identity=IDENTITY)
    time = 2.1
    assert await cached.find(UNKNOWN) == IDENTITY


async def test_a_fault_is_not_remembered(http_directory: HttpAdminDirectory, org_service: OrgService) -> None:
    cached = CachedAdminDirectory(http_directory, 30.0)
    org_service.fault = JSONResponse({}, 500)
    with pytest.raises(DirectoryUnavailableError):
        await cached.find(KNOWN)
    org_service.fault = None
    await asyncio.sleep(0)
    assert await cached.find(KNOWN) == IDENTITY

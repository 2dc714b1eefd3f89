"""/internal/v1: for routers and analytics, with the service token. Not part of the public document."""

from __future__ import annotations

from fastapi import APIRouter, status

from contracts.catalog import Catalog
from contracts.grant import AdminResolution, Resolution, ResolveRequest
from contracts.key_use import KeyUseReport
from contracts.topology import CATALOG_PATH, KEY_USE_PATH, RESOLVE_ADMIN_KEY_PATH, RESOLVE_KEY_PATH
from org_service.resolve import service
from org_service.transaction import Service

router = APIRouter(tags=["Internal"], include_in_schema=False)


@router.post(RESOLVE_KEY_PATH)
async def resolve_key(internal: Service, body: ResolveRequest) -> Resolution:
    return await service.resolve_key(internal, body.key_hash)


@router.post(RESOLVE_ADMIN_KEY_PATH)
async def resolve_admin_key(internal: Service, body: ResolveRequest) -> AdminResolution:
    return await service.resolve_admin_key(internal, body.key_hash)


@router.post(KEY_USE_PATH, status_code=status.HTTP_204_NO_CONTENT)
async def record_key_uses(internal: Service, body: KeyUseReport) -> None:
    await service.record_key_uses(internal, body.uses)


@router.get(CATALOG_PATH)
async def read_catalog(internal: Service) -> Catalog:
    return await service.read_catalog(internal)

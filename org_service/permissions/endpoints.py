"""Model permissions: OpenAI's on the project, ours in the same shape on the key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Depends

from org_service.budgets import levels
from org_service.level import Level
from org_service.permissions import service
from org_service.permissions.schemas import PermissionsUpdate, PermissionsView
from org_service.transaction import Admin
from org_service.wire import DeletedSingleton

_PROJECT = "/v1/organization/projects/{project_id}"


def _permissions(prefix: str, find_level: Callable[..., Awaitable[Level]]) -> APIRouter:
    router = APIRouter(prefix=f"{prefix}/model_permissions", tags=["Model permissions"])

    @router.get("")
    async def retrieve_model_permissions(
        transaction: Admin, project_id: str, level: Level = Depends(find_level)
    ) -> PermissionsView:
        return PermissionsView.of(await service.get(transaction, level))

    @router.post("")
    async def update_model_permissions(
        transaction: Admin, project_id: str, body: PermissionsUpdate, level: Level = Depends(find_level)
    ) -> PermissionsView:
        return PermissionsView.of(await service.replace(transaction, level, body, project_id))

    @router.delete("")
    async def delete_model_permissions(
        transaction: Admin, project_id: str, level: Level = Depends(find_level)
    ) -> DeletedSingleton:
        await service.delete(transaction, level, project_id)
        return DeletedSingleton(object=f"{level.kind}.model_permissions.deleted")

    return router


routers = [
    _permissions(_PROJECT, levels.of_project),
    _permissions(_PROJECT + "/api_keys/{api_key_id}", levels.of_key),
]

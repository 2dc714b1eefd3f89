"""/v1/organization/projects/{project_id}/api_keys"""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter

from org_service.keys import issue, repository, service
from org_service.keys.schemas import KeyCreate, KeyCreated, KeyRotate, KeyRotated, KeyUpdate, KeyView
from org_service.paging import Page, PageQuery, Slice, page
from org_service.projects import service as projects
from org_service.tables import ApiKey
from org_service.transaction import Admin, Transaction
from org_service.wire import Deleted

router = APIRouter(prefix="/v1/organization/projects/{project_id}/api_keys", tags=["Project API keys"])


async def _view(transaction: Transaction, key: ApiKey) -> KeyView:
    owners = await repository.owners_of(transaction, [key])
    return KeyView.of(key, owners[key.user_id or key.service_account_id or ""])


@router.get("")
async def list_project_api_keys(
    transaction: Admin,
    project_id: str,
    cut: PageQuery,
    owner_project_access: Literal["active", "inactive", "any"] = "active",
) -> Page[KeyView]:
    """Owners lose their keys with their access, so that no live key has an inactive owner."""
    await projects.get(transaction, project_id)
    part = await repository.list_page(transaction, project_id, cut)
    if owner_project_access == "inactive":
        part = Slice([], has_more=False)
    owners = await repository.owners_of(transaction, part.rows)
    return page(part, lambda key: KeyView.of(key, owners[key.user_id or key.service_account_id or ""]))


@router.post("")
async def create_project_api_key(transaction: Admin, project_id: str, body: KeyCreate) -> KeyCreated:
    issued = await service.create(transaction, project_id, body)
    view = await _view(transaction, issued.key)
    return KeyCreated(**view.model_dump(), value=issued.secret)


@router.get("/{api_key_id}")
async def retrieve_project_api_key(transaction: Admin, project_id: str, api_key_id: str) -> KeyView:
    return await _view(transaction, await service.get(transaction, project_id, api_key_id))


@router.post("/{api_key_id}")
async def update_project_api_key(transaction: Admin, project_id: str, api_key_id: str, body: KeyUpdate) -> KeyView:
    return await _view(transaction, await service.update(transaction, project_id, api_key_id, body))


@router.post("/{api_key_id}/rotate")
async def rotate_project_api_key(
    transaction: Admin, project_id: str, api_key_id: str, body: KeyRotate
) -> KeyRotated:
    await projects.get_active(transaction, project_id)
    key = await service.get(transaction, project_id, api_key_id)
    issued, until = await issue.rotate(transaction, key, body.grace_period_seconds)
    view = await _view(transaction, issued.key)
    return KeyRotated(**view.model_dump(), value=issued.secret, previous_value_expires_at=until)


@router.delete("/{api_key_id}")
async def delete_project_api_key(transaction: Admin, project_id: str, api_key_id: str) -> Deleted:
    await service.delete(transaction, project_id, api_key_id)
    return Deleted(id=api_key_id, object="organization.project.api_key.deleted")

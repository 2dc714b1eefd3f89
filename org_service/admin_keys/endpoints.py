"""/v1/organization/admin_api_keys"""

from __future__ import annotations

from fastapi import APIRouter

from org_service.admin_keys import repository, service
from org_service.admin_keys.schemas import AdminKeyCreate, AdminKeyCreated, AdminKeyView
from org_service.paging import Page, PageQuery, page
from org_service.tables import AdminKey
from org_service.transaction import Admin, Transaction
from org_service.wire import Deleted

router = APIRouter(prefix="/v1/organization/admin_api_keys", tags=["Admin API keys"])


async def _view(transaction: Transaction, key: AdminKey) -> AdminKeyView:
    owners = await repository.owners_of(transaction, [key.user_id])
    return AdminKeyView.of(key, owners[key.user_id])


@router.get("")
async def list_admin_api_keys(transaction: Admin, cut: PageQuery) -> Page[AdminKeyView]:
    part = await repository.list_page(transaction, cut)
    owners = await repository.owners_of(transaction, [key.user_id for key in part.rows])
    return page(part, lambda key: AdminKeyView.of(key, owners[key.user_id]))


@router.post("")
async def create_admin_api_key(transaction: Admin, body: AdminKeyCreate) -> AdminKeyCreated:
    key, secret = await service.create(transaction, body)
    view = await _view(transaction, key)
    return AdminKeyCreated(**view.model_dump(), value=secret)


@router.get("/{key_id}")
async def retrieve_admin_api_key(transaction: Admin, key_id: str) -> AdminKeyView:
    return await _view(transaction, await service.get(transaction, key_id))


@router.delete("/{key_id}")
async def delete_admin_api_key(transaction: Admin, key_id: str) -> Deleted:
    await service.delete(transaction, key_id)
    return Deleted(id=key_id, object="organization.admin_api_key.deleted")

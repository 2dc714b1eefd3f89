"""/v1/organization/projects/{project_id}/service_accounts"""

from __future__ import annotations

from fastapi import APIRouter

from org_service.paging import Page, PageQuery, page
from org_service.projects import service as projects
from org_service.service_accounts import repository, service
from org_service.service_accounts.schemas import (
    AccountKeyCreate,
    AccountKeyView,
    ServiceAccountCreate,
    ServiceAccountCreated,
    ServiceAccountUpdate,
    ServiceAccountView,
)
from org_service.transaction import Admin
from org_service.wire import Deleted

router = APIRouter(prefix="/v1/organization/projects/{project_id}/service_accounts", tags=["Service accounts"])


@router.get("")
async def list_service_accounts(transaction: Admin, project_id: str, cut: PageQuery) -> Page[ServiceAccountView]:
    await projects.get(transaction, project_id)
    return page(await repository.list_page(transaction, project_id, cut), ServiceAccountView.of)


@router.post("")
async def create_service_account(
    transaction: Admin, project_id: str, body: ServiceAccountCreate
) -> ServiceAccountCreated:
    account, issued = await service.create(transaction, project_id, body)
    api_key = None if issued is None else AccountKeyView.of(issued)
    return ServiceAccountCreated(**ServiceAccountView.of(account).model_dump(), api_key=api_key)


@router.get("/{service_account_id}")
async def retrieve_service_account(
    transaction: Admin, project_id: str, service_account_id: str
) -> ServiceAccountView:
    return ServiceAccountView.of(await service.get(transaction, project_id, service_account_id))


@router.post("/{service_account_id}")
async def update_service_account(
    transaction: Admin, project_id: str, service_account_id: str, body: ServiceAccountUpdate
) -> ServiceAccountView:
    return ServiceAccountView.of(await service.update(transaction, project_id, service_account_id, body))


@router.delete("/{service_account_id}")
async def delete_service_account(transaction: Admin, project_id: str, service_account_id: str) -> Deleted:
    await service.delete(transaction, project_id, service_account_id)
    return Deleted(id=service_account_id, object="organization.project.service_account.deleted")


@router.post("/{service_account_id}/api_keys")
async def create_service_account_key(
    transaction: Admin, project_id: str, service_account_id: str, body: AccountKeyCreate
) -> AccountKeyView:
    return AccountKeyView.of(await service.create_key(transaction, project_id, service_account_id, body))

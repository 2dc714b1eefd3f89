"""/v1/organization/users"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from org_service.paging import Page, PageQuery, page
from org_service.transaction import Admin
from org_service.users import repository, service
from org_service.users.schemas import UserCreate, UserUpdate, UserView
from org_service.wire import Deleted

router = APIRouter(prefix="/v1/organization/users", tags=["Users"])
Emails = Annotated[list[str], Query(alias="emails[]", max_length=100)]


@router.get("")
async def list_users(transaction: Admin, cut: PageQuery, emails: Emails = []) -> Page[UserView]:  # noqa: B006
    return page(await repository.list_page(transaction, emails, cut), UserView.of)


@router.post("")
async def create_user(transaction: Admin, body: UserCreate) -> UserView:
    return UserView.of(await service.create(transaction, body))


@router.get("/{user_id}")
async def retrieve_user(transaction: Admin, user_id: str) -> UserView:
    return UserView.of(await service.get(transaction, user_id))


@router.post("/{user_id}")
async def update_user(transaction: Admin, user_id: str, body: UserUpdate) -> UserView:
    return UserView.of(await service.update(transaction, user_id, body))


@router.delete("/{user_id}")
async def delete_user(transaction: Admin, user_id: str) -> Deleted:
    await service.remove(transaction, user_id)
    return Deleted(id=user_id, object="organization.user.deleted")

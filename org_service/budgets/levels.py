"""From a path to the level it names: whoever asks for a limit of a stranger's project finds no project."""

from __future__ import annotations

from contracts.grant import LevelKind
from org_service.keys import service as keys
from org_service.level import Level
from org_service.projects import service as projects
from org_service.service_accounts import service as service_accounts
from org_service.transaction import Admin
from org_service.users import service as users


async def of_organization(transaction: Admin) -> Level:
    return Level(LevelKind.ORGANIZATION, transaction.organization_id)


async def of_project(transaction: Admin, project_id: str) -> Level:
    return Level(LevelKind.PROJECT, (await projects.get(transaction, project_id)).id)


async def of_user(transaction: Admin, user_id: str) -> Level:
    return Level(LevelKind.USER, (await users.get(transaction, user_id)).id)


async def of_service_account(transaction: Admin, project_id: str, service_account_id: str) -> Level:
    account = await service_accounts.get(transaction, project_id, service_account_id)
    return Level(LevelKind.USER, account.id)


async def of_key(transaction: Admin, project_id: str, api_key_id: str) -> Level:
    return Level(LevelKind.KEY, (await keys.get(transaction, project_id, api_key_id)).id)

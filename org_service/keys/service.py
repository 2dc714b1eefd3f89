"""Project keys: create with limits, list, change, rotate, revoke."""

from __future__ import annotations

from contracts.change import Change, ChangeKind
from contracts.grant import LevelKind, OwnerKind
from org_service import audit, outbox
from org_service.budgets import service as budgets
from org_service.errors import InvalidRequestError, found
from org_service.keys import issue, repository, revoke
from org_service.keys.schemas import Issued, KeyCreate, KeyUpdate
from org_service.level import Level
from org_service.permissions import service as permissions
from org_service.projects import service as projects
from org_service.service_accounts import repository as service_accounts
from org_service.tables import ApiKey
from org_service.transaction import Transaction
from org_service.users import repository as users


async def get(transaction: Transaction, project_id: str, key_id: str) -> ApiKey:
    await projects.get(transaction, project_id)
    return found(await repository.find(transaction, project_id, key_id), "API key", key_id)


async def create(transaction: Transaction, project_id: str, body: KeyCreate) -> Issued:
    await projects.get_active(transaction, project_id)
    owner = await _owner(transaction, project_id, body)
    issued = await issue.key(transaction, project_id, owner, body.name, expires_in_seconds=body.expires_in_seconds)
    level = Level(LevelKind.KEY, issued.key.id)
    if body.limits is not None:
        await budgets.apply(transaction, level, body.limits, project_id)
    if body.model_permissions is not None:
        await permissions.replace(transaction, level, body.model_permissions, project_id)
    return issued


async def _owner(transaction: Transaction, project_id: str, body: KeyCreate) -> issue.Owner:
    if body.service_account_id is not None:
        account = await service_accounts.find(transaction, project_id, body.service_account_id)
        account = found(account, "service account", body.service_account_id)
        return issue.Owner(OwnerKind.SERVICE_ACCOUNT, account.id)
    user_id = body.user_id or transaction.caller.user_id
    user = found(await users.find(transaction, user_id), "user", user_id)
    return issue.Owner(OwnerKind.USER, user.id)


async def update(transaction: Transaction, project_id: str, key_id: str, body: KeyUpdate) -> ApiKey:
    key = await get(transaction, project_id, key_id)
    if key.expires_at is not None and key.expires_at <= transaction.now:
        raise InvalidRequestError(f"API key '{key_id}' has expired; create a new one.", code="key_expired")
    if body.name is not None:
        key.name = body.name
    if body.expires_in_seconds is not None:
        key.expires_at = issue.deadline(transaction, body.expires_in_seconds)
        change = Change(kind=ChangeKind.KEY, id=key.id)
        await outbox.announce(transaction.session, transaction.organization_id, [change])
    changes = body.model_dump(exclude_none=True)
    audit.record(transaction, "api_key.updated", key.id, project_id=project_id, changes=changes)
    return key


async def delete(transaction: Transaction, project_id: str, key_id: str) -> None:
    await revoke.one(transaction, await get(transaction, project_id, key_id))

"""Service accounts: owners of keys that are nobody's, inside one project."""

from __future__ import annotations

from contracts.change import Change, ChangeKind
from contracts.grant import OwnerKind
from org_service import audit, outbox
from org_service.errors import InvalidRequestError, found
from org_service.ids import new_id
from org_service.keys import issue, revoke
from org_service.keys.schemas import Issued
from org_service.projects import service as projects
from org_service.service_accounts import repository
from org_service.service_accounts.schemas import AccountKeyCreate, ServiceAccountCreate, ServiceAccountUpdate
from org_service.tables import ServiceAccount
from org_service.transaction import Transaction


async def get(transaction: Transaction, project_id: str, account_id: str) -> ServiceAccount:
    await projects.get(transaction, project_id)
    account = await repository.find(transaction, project_id, account_id)
    return found(account, "service account", account_id)


async def create(
    transaction: Transaction, project_id: str, body: ServiceAccountCreate
) -> tuple[ServiceAccount, Issued | None]:
    """The account and, unless it was declined, its first key."""
    await projects.get_active(transaction, project_id)
    if body.create_service_account_only and body.expires_in_seconds is not None:
        raise InvalidRequestError("Without a key there is nothing to expire.", param="expires_in_seconds")
    account = ServiceAccount(
        id=new_id("svc_acct"),
        organization_id=transaction.organization_id,
        project_id=project_id,
        name=body.name,
        role="none" if body.create_service_account_only else "member",
        created_at=transaction.now,
    )
    transaction.session.add(account)
    await transaction.session.flush()
    audit.record(
        transaction, "service_account.created", account.id, project_id=project_id, data={"role": account.role}
    )
    if body.create_service_account_only:
        return account, None
    first = AccountKeyCreate(expires_in_seconds=body.expires_in_seconds)
    return account, await create_key(transaction, project_id, account.id, first)


async def create_key(transaction: Transaction, project_id: str, account_id: str, body: AccountKeyCreate) -> Issued:
    await projects.get_active(transaction, project_id)
    account = await get(transaction, project_id, account_id)
    owner = issue.Owner(OwnerKind.SERVICE_ACCOUNT, account.id)
    return await issue.key(
        transaction, project_id, owner, body.name or account.name, expires_in_seconds=body.expires_in_seconds
    )


async def update(
    transaction: Transaction, project_id: str, account_id: str, body: ServiceAccountUpdate
) -> ServiceAccount:
    await projects.get_active(transaction, project_id)
    account = await get(transaction, project_id, account_id)
    changes = body.model_dump(exclude_none=True)
    for name, value in changes.items():
        setattr(account, name, value)
    audit.record(transaction, "service_account.updated", account.id, project_id=project_id, changes=changes)
    return account


async def delete(transaction: Transaction, project_id: str, account_id: str) -> None:
    account = await get(transaction, project_id, account_id)
    account.deleted_at = transaction.now
    await revoke.of_service_account(transaction, account.id)
    change = Change(kind=ChangeKind.USER, id=account.id)
    await outbox.announce(transaction.session, transaction.organization_id, [change])
    audit.record(transaction, "service_account.deleted", account.id, project_id=project_id)

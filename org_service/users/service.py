"""Users own keys; removing one revokes every key that speaks for it."""

from __future__ import annotations

from contracts.change import Change, ChangeKind
from org_service import audit, outbox
from org_service.admin_keys import repository as admin_keys
from org_service.errors import ConflictError, found
from org_service.ids import new_id
from org_service.keys import revoke
from org_service.tables import User
from org_service.transaction import Transaction
from org_service.users import repository
from org_service.users.schemas import UserCreate, UserUpdate


async def get(transaction: Transaction, user_id: str) -> User:
    return found(await repository.find(transaction, user_id), "user", user_id)


async def create(transaction: Transaction, body: UserCreate) -> User:
    if await repository.find_by_email(transaction, body.email) is not None:
        raise ConflictError(f"A user with the email '{body.email}' exists already.", param="email")
    user = User(
        id=new_id("user"),
        organization_id=transaction.organization_id,
        email=body.email,
        name=body.name or body.email.partition("@")[0],
        role=body.role,
        added_at=transaction.now,
    )
    transaction.session.add(user)
    await transaction.session.flush()
    audit.record(transaction, "user.added", user.id, data={"role": user.role})
    return user


async def update(transaction: Transaction, user_id: str, body: UserUpdate) -> User:
    user = await get(transaction, user_id)
    if body.role is not None and body.role != user.role:
        if user.role == "owner":
            await _keep_an_owner(transaction)
        user.role = body.role
        audit.record(transaction, "user.updated", user.id, changes={"role": body.role})
    return user


async def remove(transaction: Transaction, user_id: str) -> None:
    user = await get(transaction, user_id)
    if user.role == "owner":
        await _keep_an_owner(transaction)
    user.removed_at = transaction.now
    await revoke.of_user(transaction, user.id)
    await admin_keys.revoke_of_user(transaction, user.id)
    if await admin_keys.count_lasting(transaction) == 0:
        raise ConflictError("An organization keeps at least one lasting admin key.", code="last_admin_key")
    await outbox.announce(
        transaction.session, transaction.organization_id, [Change(kind=ChangeKind.USER, id=user.id)]
    )
    audit.record(transaction, "user.deleted", user.id)


async def _keep_an_owner(transaction: Transaction) -> None:
    if await repository.count_owners(transaction) <= 1:
        raise ConflictError("An organization keeps at least one owner.", code="last_owner")

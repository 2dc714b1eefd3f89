"""Service accounts on the wire."""

from __future__ import annotations

from typing import Literal

from org_service.keys.schemas import Issued
from org_service.tables import ServiceAccount
from org_service.wire import Body, Flag, Identified, Lifetime, Name, Timestamp


class ServiceAccountCreate(Body):
    name: Name
    create_service_account_only: Flag | None = None
    expires_in_seconds: Lifetime | None = None


class ServiceAccountUpdate(Body):
    name: Name | None = None
    role: Literal["member", "owner"] | None = None


class AccountKeyCreate(Body):
    name: Name | None = None
    expires_in_seconds: Lifetime | None = None


class AccountKeyView(Identified):
    """The only time that the secret (`value`) is shown."""

    object: Literal["organization.project.service_account.api_key"] = (
        "organization.project.service_account.api_key"
    )
    name: str
    value: str
    created_at: Timestamp
    expires_at: Timestamp | None

    @classmethod
    def of(cls, issued: Issued) -> AccountKeyView:
        key = issued.key
        return cls(
            id=key.id, name=key.name, value=issued.secret, created_at=key.created_at, expires_at=key.expires_at
        )


class ServiceAccountView(Identified):
    object: Literal["organization.project.service_account"] = "organization.project.service_account"
    name: str
    role: str
    created_at: Timestamp

    @classmethod
    def of(cls, account: ServiceAccount) -> ServiceAccountView:
        return cls(id=account.id, name=account.name, role=account.role, created_at=account.created_at)


class ServiceAccountCreated(ServiceAccountView):
    api_key: AccountKeyView | None

"""Project keys on the wire. A secret leaves the service once, as `value`, in the reply that made it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, Strict, model_validator

from org_service.budgets.schemas import LimitsUpdate
from org_service.permissions.schemas import PermissionsUpdate
from org_service.tables import ApiKey, ServiceAccount, User
from org_service.wire import Body, Identified, Lifetime, Name, Timestamp, View

MAX_GRACE_SECONDS = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Issued:
    """A key and the secret that was just made for it, which nobody can read again."""

    key: ApiKey
    secret: str


class KeyCreate(Body):
    """An extension in OpenAI's style. The owner is the calling admin key's user unless one is named."""

    name: Name
    user_id: str | None = None
    service_account_id: str | None = None
    expires_in_seconds: Lifetime | None = None
    limits: LimitsUpdate | None = None
    model_permissions: PermissionsUpdate | None = None

    @model_validator(mode="after")
    def _one_owner(self) -> Self:
        if self.user_id is not None and self.service_account_id is not None:
            raise ValueError("name either a user or a service account as the owner")
        return self


class KeyUpdate(Body):
    name: Name | None = None
    expires_in_seconds: Lifetime | None = None


class KeyRotate(Body):
    """For `grace_period_seconds` the old secret stays valid beside the new one; 0 kills it at once."""

    grace_period_seconds: Annotated[int, Strict(), Field(ge=0, le=MAX_GRACE_SECONDS)] = 0


class OwnerUserView(View):
    id: str
    email: str
    name: str
    role: str
    created_at: Timestamp


class OwnerServiceAccountView(View):
    id: str
    name: str
    role: str
    created_at: Timestamp


class OwnerView(View):
    type: Literal["user", "service_account"]
    user: OwnerUserView | None = None
    service_account: OwnerServiceAccountView | None = None

    @classmethod
    def of(cls, owner: User | ServiceAccount) -> OwnerView:
        if isinstance(owner, User):
            user = OwnerUserView(
                id=owner.id, email=owner.email, name=owner.name, role=owner.role, created_at=owner.added_at
            )
            return cls(type="user", user=user)
        account = OwnerServiceAccountView(
            id=owner.id, name=owner.name, role=owner.role, created_at=owner.created_at
        )
        return cls(type="service_account", service_account=account)


class KeyView(Identified):
    object: Literal["organization.project.api_key"] = "organization.project.api_key"
    name: str
    redacted_value: str
    created_at: Timestamp
    expires_at: Timestamp | None
    last_used_at: Timestamp | None
    owner: OwnerView
    owner_project_access: Literal["active", "inactive"] = "active"

    @classmethod
    def of(cls, key: ApiKey, owner: User | ServiceAccount) -> KeyView:
        return cls(
            id=key.id,
            name=key.name,
            redacted_value=key.redacted_value,
            created_at=key.created_at,
            expires_at=key.expires_at,
            last_used_at=key.last_used_at,
            owner=OwnerView.of(owner),
        )


class KeyCreated(KeyView):
    value: str


class KeyRotated(KeyCreated):
    """`previous_value_expires_at` is when the secret that was replaced stops working."""

    previous_value_expires_at: Timestamp

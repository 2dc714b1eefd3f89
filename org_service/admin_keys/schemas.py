"""Admin keys on the wire."""

from __future__ import annotations

from typing import Literal

from org_service.tables import AdminKey, User
from org_service.wire import Body, Identified, Lifetime, Name, Timestamp, View


class AdminKeyCreate(Body):
    name: Name
    expires_in_seconds: Lifetime | None = None


class AdminKeyOwner(View):
    type: Literal["user"] = "user"
    object: Literal["organization.user"] = "organization.user"
    id: str
    name: str
    created_at: Timestamp
    role: str


class AdminKeyView(Identified):
    object: Literal["organization.admin_api_key"] = "organization.admin_api_key"
    name: str
    redacted_value: str
    created_at: Timestamp
    expires_at: Timestamp | None
    last_used_at: Timestamp | None
    owner: AdminKeyOwner

    @classmethod
    def of(cls, key: AdminKey, user: User) -> AdminKeyView:
        owner = AdminKeyOwner(id=user.id, name=user.name, created_at=user.added_at, role=user.role)
        return cls(
            id=key.id,
            name=key.name,
            redacted_value=key.redacted_value,
            created_at=key.created_at,
            expires_at=key.expires_at,
            last_used_at=key.last_used_at,
            owner=owner,
        )


class AdminKeyCreated(AdminKeyView):
    value: str

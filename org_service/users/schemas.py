"""Users on the wire."""

from __future__ import annotations

from typing import Literal

from org_service.tables import User
from org_service.wire import Body, Email, Identified, Name, Timestamp, View

Role = Literal["owner", "reader"]


class UserCreate(Body):
    """An extension: OpenAI adds users by invitation only."""

    email: Email
    name: Name | None = None
    role: Role = "reader"


class UserUpdate(Body):
    role: Role | None = None


class UserDetails(View):
    object: Literal["user"] = "user"
    id: str
    email: str
    name: str
    enabled: bool = True


class UserView(Identified):
    object: Literal["organization.user"] = "organization.user"
    email: str
    name: str
    role: str
    added_at: Timestamp
    created: Timestamp
    is_service_account: bool = False
    user: UserDetails

    @classmethod
    def of(cls, user: User) -> UserView:
        details = UserDetails(id=user.id, email=user.email, name=user.name)
        return cls(
            id=user.id, email=user.email, name=user.name, role=user.role,
            added_at=user.added_at, created=user.added_at, user=details,
        )  # fmt: skip

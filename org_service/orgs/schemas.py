"""Organizations on the wire."""

from __future__ import annotations

from typing import Literal

from org_service.admin_keys.schemas import AdminKeyCreated
from org_service.projects.schemas import ProjectView
from org_service.tables import Organization
from org_service.users.schemas import UserView
from org_service.wire import Body, Email, Identified, Name, Timestamp


class OrganizationCreate(Body):
    name: Name
    owner_email: Email
    project_name: Name = "Default project"


class OrganizationView(Identified):
    object: Literal["organization"] = "organization"
    name: str
    is_operator: bool
    created_at: Timestamp

    @classmethod
    def of(cls, row: Organization) -> OrganizationView:
        return cls(id=row.id, name=row.name, is_operator=row.is_operator, created_at=row.created_at)


class OrganizationCreated(OrganizationView):
    """With what its owner needs to begin; the admin key's `value` is shown here only."""

    owner: UserView
    project: ProjectView
    admin_api_key: AdminKeyCreated

"""A new organization comes with an owner, a project and an admin key, so that somebody can begin."""

from __future__ import annotations

from dataclasses import dataclass, replace

from org_service import audit
from org_service.admin_keys import service as admin_keys
from org_service.admin_keys.schemas import AdminKeyCreate
from org_service.authenticate import Caller
from org_service.errors import found
from org_service.ids import new_id
from org_service.orgs import repository
from org_service.orgs.schemas import OrganizationCreate
from org_service.projects import service as projects
from org_service.projects.schemas import ProjectCreate
from org_service.tables import AdminKey, Organization, Project, User
from org_service.transaction import Transaction
from org_service.users import service as users
from org_service.users.schemas import UserCreate


@dataclass(frozen=True, slots=True)
class Founded:
    organization: Organization
    owner: User
    project: Project
    admin_key: AdminKey
    admin_secret: str


async def get(transaction: Transaction, organization_id: str) -> Organization:
    """Only the operator asks; see endpoints."""
    return found(await repository.find(transaction.session, organization_id), "organization", organization_id)


async def found_organization(
    transaction: Transaction, body: OrganizationCreate, *, is_operator: bool = False
) -> Founded:
    organization = Organization(
        id=new_id("org"), name=body.name, is_operator=is_operator, created_at=transaction.now
    )
    transaction.session.add(organization)
    await transaction.session.flush()
    inside = replace(transaction, caller=Caller(organization.id))
    audit.record(inside, "organization.created", organization.id, data={"name": body.name})
    owner = await users.create(inside, UserCreate(email=body.owner_email, role="owner"))
    inside = replace(inside, caller=Caller(organization.id, owner.id, owner.email))
    project = await projects.create(inside, ProjectCreate(name=body.project_name))
    admin_key, secret = await admin_keys.create(inside, AdminKeyCreate(name="First admin key"))
    return Founded(organization, owner, project, admin_key, secret)

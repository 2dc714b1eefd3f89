"""Projects are archived, never deleted: what they spent stays theirs."""

from __future__ import annotations

from contracts.change import Change, ChangeKind
from org_service import audit, outbox
from org_service.errors import InvalidRequestError, found
from org_service.ids import new_id
from org_service.keys import revoke
from org_service.projects import repository
from org_service.projects.schemas import ProjectCreate, ProjectUpdate
from org_service.tables import Project
from org_service.transaction import Transaction


async def get(transaction: Transaction, project_id: str) -> Project:
    return found(await repository.find(transaction, project_id), "project", project_id)


async def get_active(transaction: Transaction, project_id: str) -> Project:
    """For writes: nothing changes any more inside an archived project."""
    project = await get(transaction, project_id)
    if project.archived_at is not None:
        raise InvalidRequestError(f"Project '{project_id}' is archived.", code="project_archived")
    return project


async def create(transaction: Transaction, body: ProjectCreate) -> Project:
    project = Project(
        id=new_id("proj"),
        organization_id=transaction.organization_id,
        name=body.name,
        created_at=transaction.now,
    )
    transaction.session.add(project)
    await transaction.session.flush()
    audit.record(transaction, "project.created", project.id, project_id=project.id, data={"name": body.name})
    return project


async def update(transaction: Transaction, project_id: str, body: ProjectUpdate) -> Project:
    project = await get_active(transaction, project_id)
    project.name = body.name
    audit.record(transaction, "project.updated", project.id, project_id=project.id, changes={"name": body.name})
    return project


async def archive(transaction: Transaction, project_id: str) -> Project:
    """Archive it and revoke its keys, which are dead on every router within a second."""
    project = await get(transaction, project_id)
    if project.archived_at is not None:
        return project
    project.archived_at = transaction.now
    await revoke.of_project(transaction, project.id)
    change = Change(kind=ChangeKind.PROJECT, id=project.id)
    await outbox.announce(transaction.session, transaction.organization_id, [change])
    audit.record(transaction, "project.archived", project.id, project_id=project.id)
    return project

"""/v1/organization/projects"""

from __future__ import annotations

from fastapi import APIRouter

from org_service.paging import Page, PageQuery, page
from org_service.projects import repository, service
from org_service.projects.schemas import ProjectCreate, ProjectUpdate, ProjectView
from org_service.transaction import Admin

router = APIRouter(prefix="/v1/organization/projects", tags=["Projects"])


@router.get("")
async def list_projects(transaction: Admin, cut: PageQuery, include_archived: bool = False) -> Page[ProjectView]:
    return page(await repository.list_page(transaction, include_archived, cut), ProjectView.of)


@router.post("")
async def create_project(transaction: Admin, body: ProjectCreate) -> ProjectView:
    return ProjectView.of(await service.create(transaction, body))


@router.get("/{project_id}")
async def retrieve_project(transaction: Admin, project_id: str) -> ProjectView:
    return ProjectView.of(await service.get(transaction, project_id))


@router.post("/{project_id}")
async def update_project(transaction: Admin, project_id: str, body: ProjectUpdate) -> ProjectView:
    return ProjectView.of(await service.update(transaction, project_id, body))


@router.post("/{project_id}/archive")
async def archive_project(transaction: Admin, project_id: str) -> ProjectView:
    return ProjectView.of(await service.archive(transaction, project_id))

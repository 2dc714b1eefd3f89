"""/v1/organization/organizations: an extension, for the operator of the deployment alone."""

from __future__ import annotations

from fastapi import APIRouter

from org_service.admin_keys.schemas import AdminKeyCreated, AdminKeyView
from org_service.orgs import repository, service
from org_service.orgs.schemas import OrganizationCreate, OrganizationCreated, OrganizationView
from org_service.paging import Page, PageQuery, page
from org_service.projects.schemas import ProjectView
from org_service.transaction import Operator
from org_service.users.schemas import UserView

router = APIRouter(prefix="/v1/organization/organizations", tags=["Organizations"])


@router.get("")
async def list_organizations(transaction: Operator, cut: PageQuery) -> Page[OrganizationView]:
    return page(await repository.list_page(transaction.session, cut), OrganizationView.of)


@router.post("")
async def create_organization(transaction: Operator, body: OrganizationCreate) -> OrganizationCreated:
    founded = await service.found_organization(transaction, body)
    admin_key = AdminKeyView.of(founded.admin_key, founded.owner)
    return OrganizationCreated(
        **OrganizationView.of(founded.organization).model_dump(),
        owner=UserView.of(founded.owner),
        project=ProjectView.of(founded.project),
        admin_api_key=AdminKeyCreated(**admin_key.model_dump(), value=founded.admin_secret),
    )


@router.get("/{organization_id}")
async def retrieve_organization(transaction: Operator, organization_id: str) -> OrganizationView:
    return OrganizationView.of(await service.get(transaction, organization_id))

"""Queries on organizations: the operator's view over all of them."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from org_service.paging import Cut, Slice, read
from org_service.tables import Organization


async def find(session: AsyncSession, organization_id: str) -> Organization | None:
    return await session.get(Organization, organization_id)


async def find_operator(session: AsyncSession) -> Organization | None:
    query = select(Organization).where(Organization.is_operator).order_by(Organization.id).limit(1)
    return (await session.execute(query)).scalar_one_or_none()


async def list_page(session: AsyncSession, cut: Cut) -> Slice[Organization]:
    return await read(session, select(Organization), Organization.id, cut)

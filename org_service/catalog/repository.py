"""Queries on the catalog, which belongs to the deployment and not to an organization."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from org_service.paging import Cut, Slice, read
from org_service.tables import Alias, CatalogState, Model, Price, Upstream

Row = TypeVar("Row", Model, Alias, Upstream, Price)


async def all_of(session: AsyncSession, table: type[Row]) -> Sequence[Row]:
    return (await session.execute(select(table).order_by(table.id))).scalars().all()


async def find(session: AsyncSession, table: type[Row], row_id: str) -> Row | None:
    return await session.get(table, row_id)


async def find_live_model(session: AsyncSession, model_id: str) -> Model | None:
    query = select(Model).where(Model.id == model_id, Model.retired_at.is_(None))
    return (await session.execute(query)).scalar_one_or_none()


async def list_models(session: AsyncSession, cut: Cut) -> Slice[Model]:
    return await read(session, select(Model).where(Model.retired_at.is_(None)), Model.id, cut)


async def list_aliases(session: AsyncSession, cut: Cut) -> Slice[Alias]:
    return await read(session, select(Alias), Alias.id, cut)


async def list_upstreams(session: AsyncSession, model_id: str | None, cut: Cut) -> Slice[Upstream]:
    query: Select[Upstream] = select(Upstream)
    if model_id is not None:
        query = query.where(Upstream.model_id == model_id)
    return await read(session, query, Upstream.id, cut)


async def list_prices(session: AsyncSession, model_id: str | None, cut: Cut) -> Slice[Price]:
    query: Select[Price] = select(Price)
    if model_id is not None:
        query = query.where(Price.model_id == model_id)
    return await read(session, query, Price.id, cut)


async def prices_by_model(session: AsyncSession) -> dict[str, list[Price]]:
    prices: dict[str, list[Price]] = {}
    for price in (await session.execute(select(Price).order_by(Price.effective_from))).scalars():
        prices.setdefault(price.model_id, []).append(price)
    return prices


async def has_price(session: AsyncSession, model_id: str) -> bool:
    query = select(Price.id).where(Price.model_id == model_id).limit(1)
    return (await session.execute(query)).first() is not None


async def find_price_at(session: AsyncSession, model_id: str, effective_from: datetime) -> Price | None:
    query = select(Price).where(Price.model_id == model_id, Price.effective_from == effective_from)
    return (await session.execute(query)).scalar_one_or_none()


async def version(session: AsyncSession) -> int:
    return (await session.execute(select(CatalogState.version))).scalar_one()

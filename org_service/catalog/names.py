"""Model names: which exist, and which canonical id an alias stands for."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from org_service.catalog import repository
from org_service.errors import InvalidRequestError
from org_service.tables import Alias, Model


async def list_models(session: AsyncSession) -> list[str]:
    return list((await session.execute(select(Model.id).where(Model.retired_at.is_(None)))).scalars())


async def canonical(session: AsyncSession, named: Iterable[str], *, param: str) -> dict[str, str]:
    """Each name with its canonical id; a name that nobody knows is a 400 on `param`, not a silent never-match."""
    aliases = {row.id: row.model_id for row in await repository.all_of(session, Alias)}
    known = {model_id: model_id for model_id in await list_models(session)} | aliases
    named = list(named)
    for name in named:
        if name not in known:
            raise InvalidRequestError(f"The model '{name}' is not in the catalog.", param=param)
    return {name: known[name] for name in named}

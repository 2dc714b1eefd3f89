"""Changes are written in the transaction that makes them; a relay carries them to the feed (relay.py)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.change import Change, ChangeKind
from org_service.tables import CatalogState, Organization, OutboxEntry

CHANNEL: Final = "tern_outbox"
"""PostgreSQL NOTIFY channel: sounded at commit, so that the relay need not wait for its next look."""


async def announce(session: AsyncSession, organization_id: str, changes: Iterable[Change]) -> None:
    """Tell every router of changes inside one organization once this transaction is committed."""
    bump = update(Organization).where(Organization.id == organization_id)
    statement = bump.values(version=Organization.version + 1).returning(Organization.version)
    version = (await session.execute(statement)).scalar_one()
    await _append(session, (change.model_copy(update={"version": version}) for change in changes))


async def announce_catalog(session: AsyncSession) -> None:
    """Tell every router that the catalog has a new version."""
    statement = update(CatalogState).values(version=CatalogState.version + 1).returning(CatalogState.version)
    version = (await session.execute(statement)).scalar_one()
    await _append(session, [Change(kind=ChangeKind.CATALOG, version=version)])


async def _append(session: AsyncSession, changes: Iterable[Change]) -> None:
    session.add_all(OutboxEntry(change=change.model_dump(mode="json")) for change in changes)
    await session.execute(select(func.pg_notify(CHANNEL, "")))

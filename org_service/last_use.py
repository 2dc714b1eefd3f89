"""`last_used_at` of keys: noted in memory and written many at a time, so that no request costs an UPDATE.

Routers report the uses of project keys. Admin keys are seen here: by this API, and when analytics asks who owns
one. A process that is killed takes at most one interval's uses of admin keys along.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import DateTime, Text, and_, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.key_use import KeyUse
from contracts.log_line import say
from org_service.authenticate import Caller
from org_service.db import Database
from org_service.errors import ApiError
from org_service.tables import AdminKey, ApiKey

log = logging.getLogger(__name__)


async def write(
    session: AsyncSession, table: type[ApiKey] | type[AdminKey], uses: Iterable[KeyUse], now: datetime
) -> None:
    """One UPDATE for all of them; a time never goes back, and none is later than `now`. A use counts only for a
    key of the organization that it names. Rows are locked in the order of their ids, as by those who revoke keys:
    nobody waits for anybody in a circle."""
    latest = {use.key_id: use for use in sorted(uses, key=lambda use: use.at)}
    used = (
        func.unnest(
            literal([use.key_id for use in latest.values()], ARRAY(Text)),
            literal([use.organization_id for use in latest.values()], ARRAY(Text)),
            literal([min(use.at, now) for use in latest.values()], ARRAY(DateTime(timezone=True))),
        )
        .table_valued("key_id", "organization_id", "at")
        .render_derived()
    )
    due = (
        select(table.id, used.c.at)
        .join(used, and_(used.c.key_id == table.id, used.c.organization_id == table.organization_id))
        .where(or_(table.last_used_at.is_(None), table.last_used_at < used.c.at))
        .order_by(table.id)
        .with_for_update(key_share=True, of=table)
        .cte("due")
    )
    statement = update(table).where(table.id == due.c.id)
    statement = statement.values(last_used_at=func.greatest(table.last_used_at, due.c.at))
    await session.execute(statement, execution_options={"synchronize_session": False})


@dataclass(slots=True)
class AdminKeyUses:
    """The uses of admin keys that are not written yet: at most one for each key that PostgreSQL knew."""

    database: Database
    every_seconds: float
    _latest: dict[str, KeyUse] = field(default_factory=dict)

    def note(self, caller: Caller, at: datetime) -> None:
        use = KeyUse(key_id=caller.key_id, organization_id=caller.organization_id, at=at)
        self._latest[caller.key_id] = use

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self.every_seconds)
            await self.attempt()

    async def attempt(self) -> None:
        """Write what is noted; what PostgreSQL cannot take now is kept for the next time."""
        noted = list(self._latest.values())
        if not noted:
            return
        try:
            async with self.database.transaction() as session:
                await write(session, AdminKey, noted, max(use.at for use in noted))
        except ApiError as error:
            say(log, logging.WARNING, "last_use_kept", keys=len(noted), error=type(error).__name__)
            return
        for use in noted:
            if self._latest.get(use.key_id) is use:
                del self._latest[use.key_id]

"""Migrations, run by a job and never by the app at its start.

Files are named NNNN_pre_* and NNNN_post_*: `pre` runs before the new code is rolled out and suits the old code
too, `post` runs after it. An advisory lock keeps two jobs apart; `lock_timeout` keeps a migration from queueing
in front of the traffic.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

from org_service.db import driver_url

_FOLDER: Final = Path(__file__).parent / "migrations"
_ADVISORY_LOCK: Final = 0x6D696772


class Phase(StrEnum):
    """`PRE` stops in front of the first pending post migration; `POST` and `ALL` go to the end."""

    ALL = "all"
    PRE = "pre"
    POST = "post"


async def migrate(database_url: str, phase: Phase = Phase.ALL) -> None:
    """Bring the tables up to date, in one transaction; does nothing where they are."""
    engine = create_async_engine(driver_url(database_url))
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SET LOCAL lock_timeout = '5s'"))
            await connection.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": _ADVISORY_LOCK})
            await connection.run_sync(_upgrade, phase)
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, phase: Phase) -> None:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    target = _target(connection, ScriptDirectory.from_config(config), phase)
    if target is not None:
        command.upgrade(config, target)


def _target(connection: Connection, scripts: ScriptDirectory, phase: Phase) -> str | None:
    """The last revision to apply; None where nothing is pending for this phase."""
    done = MigrationContext.configure(connection).get_current_revision()
    pending = list(scripts.walk_revisions("base", "heads"))[::-1]
    if done is not None:
        position = [script.revision for script in pending].index(done)
        pending = pending[position + 1 :]
    target = None
    for script in pending:
        if phase is Phase.PRE and "_post_" in Path(script.path).name:
            break
        target = script.revision
    return target

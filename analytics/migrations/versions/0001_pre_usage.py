"""Events, rollups and the view over them. Runs before the code that needs it."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from alembic import op
from sqlalchemy import text

revision = "0001_pre_usage"
down_revision = None

EXTENSION_IS_THERE = "SELECT EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'timescaledb')"


def upgrade() -> None:
    """TimescaleDB where its extension is installed in this database, plain PostgreSQL elsewhere."""
    timescale = op.get_bind().execute(text(EXTENSION_IS_THERE)).scalar_one()
    name = "0001_timescale.sql" if timescale else "0001_plain.sql"
    statements = (files("analytics.migrations.sql") / name).read_text()
    psycopg_connection: Any = op.get_bind().connection.driver_connection
    psycopg_connection.execute(statements)  # the driver itself runs many statements at once

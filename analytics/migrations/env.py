"""Alembic's entry: the connection is given by analytics.migrate, in a transaction that it commits."""

from __future__ import annotations

from alembic import context
from sqlalchemy import text

connection = context.config.attributes["connection"]
# A step that waits for a lock makes every later query wait behind it: better to fail and try again.
connection.execute(text("SET LOCAL lock_timeout = '5s'"))
# Two jobs at once: the second waits here and then finds nothing to do.
connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('tern.analytics.migrate'))"))
context.configure(connection=connection)
context.run_migrations()

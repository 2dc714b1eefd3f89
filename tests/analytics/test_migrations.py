"""All migrations together are schema.sql, and partitions are there for every event that is accepted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

import analytics
from analytics.migrate import migrate

SCHEMA = Path(analytics.__file__).parent / "schema.sql"
QUESTIONS = {
    "columns": """SELECT table_name, column_name, ordinal_position, data_type, is_nullable, column_default
        FROM information_schema.columns WHERE table_schema = 'public'""",
    "constraints": """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace""",
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "views": "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public'",
    "functions": """SELECT proname, pg_get_functiondef(oid) FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace""",
    "kinds": """SELECT relname, relkind::text, pg_get_partkeydef(oid) FROM pg_class
        WHERE relnamespace = 'public'::regnamespace""",
}


def _shape(connection: psycopg.Connection[Any]) -> dict[str, list[tuple[Any, ...]]]:
    connection.execute("DROP TABLE IF EXISTS alembic_version")
    return {name: sorted(connection.execute(sql.SQL(text)), key=str) for name, text in QUESTIONS.items()}


def test_all_migrations_together_equal_schema_sql(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(sql.SQL(SCHEMA.read_text()))
        described = _shape(connection)
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
        migrate(database_url)
        assert _shape(connection) == described
        assert described["columns"]


def test_migrating_twice_changes_nothing(database_url: str) -> None:
    migrate(database_url)
    migrate(database_url)


def test_a_migration_gives_up_on_a_lock_instead_of_queueing_everybody_behind_it(database_url: str) -> None:
    with psycopg.connect(database_url) as holder:
        holder.execute("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
        holder.commit()
        holder.execute("LOCK TABLE alembic_version")
        with pytest.raises(Exception, match="lock timeout"):
            migrate(database_url)


def test_names_of_migrations_say_when_they_run() -> None:
    versions = Path(analytics.__file__).parent / "migrations" / "versions"
    names = [path.stem for path in versions.glob("[0-9]*.py")]
    assert names
    assert all(name[:4].isdigit() and name[4:].startswith(("_pre_", "_post_")) for name in names)


def test_partitions_are_made_once_and_cover_both_ends(database_url: str) -> None:
    migrate(database_url)
    with psycopg.connect(database_url, autocommit=True) as connection:
        ensure = "SELECT ensure_usage_partitions('2026-01-31 23:30Z', '2026-03-01 00:00Z')"
        assert connection.execute(ensure).fetchone() == (3,)
        assert connection.execute(ensure).fetchone() == (0,)
        bounds = connection.execute(
            "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relispartition AND relkind = 'r' ORDER BY 1"
        ).fetchall()
        assert len(bounds) == 3

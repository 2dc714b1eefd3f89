"""Migrations: together they are schema.sql and the tables in code; twice is once; two at a time is one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

import org_service
from org_service.migrate import Phase, migrate
from org_service.tables import Table

SCHEMA = Path(org_service.__file__).parent / "schema.sql"
FACTS = {
    "columns": """
        SELECT table_name, column_name, data_type, collation_name, is_nullable, column_default, is_identity
        FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version'""",
    "indexes": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'",
    "triggers": "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
    "functions": "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
}


def facts_of(database_url: str) -> dict[str, set[tuple[object, ...]]]:
    with psycopg.connect(database_url) as connection:
        return {name: set(connection.execute(query).fetchall()) for name, query in FACTS.items()}


@pytest.fixture
def from_schema_url(postgres_server_url: str) -> str:
    name = "org_from_schema"
    with psycopg.connect(postgres_server_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
    url = f"{postgres_server_url.rpartition('/')[0]}/{name}"
    with psycopg.connect(url) as connection:
        connection.execute(SCHEMA.read_text())
    return url


async def test_all_migrations_together_are_the_schema(database_url: str, from_schema_url: str) -> None:
    await migrate(database_url)
    migrated, written = facts_of(database_url), facts_of(from_schema_url)
    for name in FACTS:
        assert migrated[name] == written[name], name
        assert migrated[name], name


async def test_the_tables_in_code_are_the_tables_in_the_database(database_url: str) -> None:
    await migrate(database_url)
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Table.metadata) == []
    engine.dispose()


async def test_migrating_again_changes_nothing(database_url: str) -> None:
    await migrate(database_url)
    before = facts_of(database_url)
    await migrate(database_url, Phase.PRE)
    await migrate(database_url, Phase.POST)
    assert facts_of(database_url) == before


async def test_two_migrations_at_once_are_one(database_url: str) -> None:
    await asyncio.gather(migrate(database_url), migrate(database_url))
    assert facts_of(database_url)["columns"]


def test_every_migration_says_when_it_runs() -> None:
    scripts = sorted(SCHEMA.parent.glob("migrations/versions/*.py"))
    assert scripts
    for number, script in enumerate(scripts, start=1):
        assert script.name.startswith((f"{number:04d}_pre_", f"{number:04d}_post_"))


async def test_prices_cannot_be_changed_even_in_the_database(installed_url: str) -> None:
    with psycopg.connect(installed_url) as connection:
        connection.execute("INSERT INTO models VALUES ('m', ARRAY['completions'], 1, 1, 0, 'tern', now(), NULL)")
        connection.execute("INSERT INTO prices VALUES ('price_1', 'm', now(), 1, 1, NULL, NULL, now())")
        connection.commit()
        for statement in ("UPDATE prices SET input_nano_usd_per_million = 2", "DELETE FROM prices"):
            with pytest.raises(psycopg.errors.RestrictViolation):
                connection.execute(statement)
            connection.rollback()

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
import redis

from tern.stack.home import Home, open_home
from tern.stack.postgres import start_postgres
from tern.stack.process import PartError
from tern.stack.valkey import start_valkey


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with open_home(tmp_path / "state") as opened:
        yield opened
        if opened.postgres_directory != opened.path / "postgres":
            shutil.rmtree(opened.postgres_directory, ignore_errors=True)


def test_the_embedded_database_keeps_its_rows_over_a_crash(home: Home) -> None:
    server = start_postgres(home, "secret")
    with psycopg.connect(server.url("org")) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    server.part.kill()
    server = start_postgres(home, "secret")
    with psycopg.connect(server.url("org")) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (7,)
    server.part.stop()


def test_the_embedded_database_wants_its_password(home: Home) -> None:
    server = start_postgres(home, "secret")
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://postgres:wrong@127.0.0.1:{server.port}/postgres")
    server.part.stop()


def test_a_database_of_another_version_is_refused_in_one_sentence(home: Home) -> None:
    start_postgres(home, "secret").part.stop()
    (home.postgres_directory / "data" / "PG_VERSION").write_text("16\n")
    with pytest.raises(PartError, match="version 16"):
        start_postgres(home, "secret")


def test_a_password_that_was_lost_is_one_sentence(home: Home) -> None:
    start_postgres(home, "secret").part.stop()
    with pytest.raises(PartError, match="do not belong together"):
        start_postgres(home, "another")


def test_the_embedded_ledger_keeps_acknowledged_writes_over_a_crash(home: Home) -> None:
    server = start_valkey(home, "secret")
    with redis.Redis.from_url(server.url) as client:
        client.set("kept", "7")
    server.part.kill()
    server = start_valkey(home, "secret")
    with redis.Redis.from_url(server.url) as client:
        assert client.get("kept") == b"7"
    server.part.stop()


def test_a_database_that_still_stops_is_waited_for(home: Home) -> None:
    first = start_postgres(home, "secret")
    with psycopg.connect(first.url("postgres")), ThreadPoolExecutor(1) as pool:
        first.part.process.send_signal(signal.SIGTERM)  # PostgreSQL lets its clients finish before it stops
        second = pool.submit(start_postgres, home, "secret")
        with pytest.raises(TimeoutError):
            second.result(timeout=1)
        first.part.stop()
        second.result(timeout=30).part.stop()

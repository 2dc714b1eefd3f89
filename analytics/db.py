"""The database: a pool, the questions as files, and psycopg's exceptions in our words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any, LiteralString, cast

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from analytics.errors import DatabaseUnavailableError, UnrecordableError
from analytics.telemetry import Telemetry


def question(name: str) -> LiteralString:
    """The text of `sql/<name>.sql`, which is ours and therefore literal."""
    text: Any = (files("analytics.sql") / f"{name}.sql").read_text()
    return cast(LiteralString, text)


class Database:
    """A pool of connections that is opened and closed by whoever owns it."""

    def __init__(
        self, url: str, pool_size: int, timeout_seconds: float, telemetry: Telemetry | None = None
    ) -> None:
        self._pool: AsyncConnectionPool[psycopg.AsyncConnection[DictRow]] = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=pool_size,
            open=False,
            timeout=timeout_seconds,
            check=AsyncConnectionPool.check_connection,
            configure=None if telemetry is None else telemetry.trace_connection,
            kwargs={
                "row_factory": dict_row,
                "connect_timeout": max(2, round(timeout_seconds)),
                "options": f"-c timezone=UTC -c statement_timeout={round(timeout_seconds * 1000)}",
                "application_name": "tern-analytics",
            },
        )
        self._texts: dict[str, LiteralString] = {}

    async def open(self) -> None:
        """Start connecting; does not wait for the database to be there."""
        await self._pool.open()

    async def close(self) -> None:
        await self._pool.close()

    async def ask(self, name: str, parameters: Mapping[str, Any]) -> list[DictRow]:
        """The rows that answer `sql/<name>.sql`, in a transaction of its own that is committed on return.

        Raises UnrecordableError where the values are refused, DatabaseUnavailableError for everything else.
        """
        if name not in self._texts:
            self._texts[name] = question(name)
        async with self._connection() as connection:
            cursor = await connection.execute(self._texts[name], parameters)
            return await cursor.fetchall()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[psycopg.AsyncConnection[DictRow]]:
        try:
            async with self._pool.connection() as connection:
                yield connection
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            raise UnrecordableError(str(error).strip()) from error
        except (psycopg.Error, PoolTimeout, PoolClosed) as error:
            raise DatabaseUnavailableError(f"{type(error).__name__}: {error}".strip()) from error

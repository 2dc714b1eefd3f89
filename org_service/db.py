"""PostgreSQL: the pool, one transaction per request, and the translation of the driver's errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg  # type: ignore[import-untyped]
from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from org_service.errors import ApiError, ConflictError, InvalidRequestError, UnavailableError
from org_service.settings import Settings

APPLICATION_NAME = "tern-org"


def driver_url(database_url: str) -> URL:
    """The given address, spoken to by asyncpg."""
    return make_url(database_url).set(drivername="postgresql+asyncpg")


def create_engine(settings: Settings) -> AsyncEngine:
    statement_timeout_ms = int(settings.statement_timeout_seconds * 1000)
    return create_async_engine(
        driver_url(settings.database_url.get_secret_value()),
        pool_size=settings.pool_connections,
        max_overflow=0,
        pool_timeout=settings.statement_timeout_seconds,
        pool_pre_ping=True,
        connect_args={
            "timeout": settings.connect_timeout_seconds,
            "server_settings": {
                "application_name": APPLICATION_NAME,
                "statement_timeout": str(statement_timeout_ms),
                "idle_in_transaction_session_timeout": str(2 * statement_timeout_ms),
                "timezone": "UTC",
            },
        },
    )


_DRIVER_ERRORS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError)
"""What comes unwrapped where the driver is used without SQLAlchemy."""

_DATA_EXCEPTION: Final = "22"
"""Class of the SQLSTATEs that say: this value cannot be stored (a NUL character, a number too large)."""


def _translate(error: Exception) -> ApiError:
    sqlstate = getattr(getattr(error, "orig", None), "sqlstate", None) or ""
    if sqlstate.startswith(_DATA_EXCEPTION):
        return InvalidRequestError("The request contains a value that cannot be stored.")
    return UnavailableError("The database is not available; try again shortly.")


class Database:
    """Hands out transactions; the only place where SQLAlchemy's exceptions become ours."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """Commits when the block ends well, else rolls back. Raises ConflictError, InvalidRequestError or
        UnavailableError in place of the driver's errors."""
        try:
            async with self._sessions.begin() as session:
                yield session
        except IntegrityError as error:
            raise ConflictError("The change collides with another one or with an existing object.") from error
        except (DBAPIError, PoolTimeoutError, OSError) as error:
            raise _translate(error) from error

    @asynccontextmanager
    async def listening(self, channel: str, notify: Callable[[], None]) -> AsyncIterator[None]:
        """Call `notify` for every NOTIFY on the channel, on a connection of its own; UnavailableError if none."""

        def heard(*_: Any) -> None:
            notify()

        try:
            async with self.engine.connect() as connection:
                driver = (await connection.get_raw_connection()).driver_connection
                assert driver is not None
                await driver.add_listener(channel, heard)
                try:
                    yield
                finally:
                    if not driver.is_closed():
                        await driver.remove_listener(channel, heard)
        except (*_DRIVER_ERRORS, DBAPIError, PoolTimeoutError, OSError) as error:
            raise UnavailableError("The database is not available; try again shortly.") from error

    async def ping(self) -> None:
        """Raises UnavailableError unless the database answers and its tables exist."""
        async with self.transaction() as session:
            await session.execute(text("SELECT version FROM catalog_state"))

    async def close(self) -> None:
        await self.engine.dispose()

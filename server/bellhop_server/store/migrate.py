"""Brings a database to the form that this version of Bellhop knows, and says whether it has it."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, NullPool, create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from bellhop_server.store import migrations
from bellhop_server.store.database import postgresql_dsn, sqlite_path
from bellhop_server.store.failures import Availability, DatabaseRefused
from bellhop_server.store.postgresql import connect
from bellhop_server.store.sqlite import FileLock

T = TypeVar("T")

# Any number will do, as long as every version uses the same.
_ADVISORY_LOCK = 0x62656C6C686F70


async def upgrade(url: str) -> None:
    """Applies what is missing, all of it in one transaction. A SQLite file is made if there is none.

    Raises DatabaseRefused when the database is newer than this version, or a SQLite file in use, ServiceUnavailable.
    """
    await _run(url, _upgrade)


async def check(url: str) -> None:
    """Raises DatabaseRefused unless the database has the form that this version knows, ServiceUnavailable."""
    await _run(url, _check)


async def _run(url: str, fn: Callable[[Connection], T]) -> T:
    path = sqlite_path(url)
    try:
        if path is not None:
            return await asyncio.to_thread(_run_on_sqlite, path, fn)
        return await _run_on_postgresql(postgresql_dsn(url), fn)
    except DatabaseRefused:
        raise
    except Exception as error:
        raise Availability("migrating").translate(error) from None


def _run_on_sqlite(path: Path, fn: Callable[[Connection], T]) -> T:
    lock = FileLock(path)
    # Who uses which device is nobody else's business; the log beside it takes after it.
    path.touch(mode=0o600)
    # BEGIN is ours to say, or SQLite's module would leave DDL outside the transaction.
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(path, isolation_level=None), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            value = fn(connection)
            connection.commit()
            return value
    finally:
        engine.dispose()
        lock.release()


async def _run_on_postgresql(dsn: str, fn: Callable[[Connection], T]) -> T:
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: connect(dsn, command_timeout=None), poolclass=NullPool
    )
    try:
        async with engine.begin() as connection:
            # Nodes that start together take turns; a migration may take longer than a request.
            await connection.exec_driver_sql("SELECT set_config('lock_timeout', '0', true)")
            await connection.exec_driver_sql("SELECT set_config('statement_timeout', '0', true)")
            await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
            return await connection.run_sync(fn)
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> None:
    if _missing(connection):
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _check(connection: Connection) -> None:
    if _missing(connection):
        raise DatabaseRefused("The database is older than this version of Bellhop. Run `bellhop migrate` first.")


def _missing(connection: Connection) -> bool:
    """Whether migrations are still to be applied. Raises DatabaseRefused when it has some that we do not know."""
    scripts = ScriptDirectory.from_config(_config())
    current = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in scripts.walk_revisions()}
    if current is not None and current not in known:
        raise DatabaseRefused(f"The database is newer than this version of Bellhop (revision {current}).")
    return current != scripts.get_current_head()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config

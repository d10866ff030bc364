"""PostgreSQL through asyncpg: a small pool for transactions, another one for reading."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeVar

import asyncpg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from bellhop_server.domain.errors import Overloaded, ServiceUnavailable
from bellhop_server.store.failures import Availability, DatabaseRefused, is_away, is_concurrent

T = TypeVar("T")

WAITING_LIMIT = 2000
WRITERS = 4
READERS = 4
ATTEMPTS = 5
CONNECT_TIMEOUT = 5.0
LOCK_TIMEOUT_MS = 5000
# Beyond the server's own limits, for one that does not answer any more.
COMMAND_TIMEOUT = 40.0

# The settings of a connection, and whether what it reached will do, in one round trip.
_SET_UP = """
SELECT set_config('lock_timeout', $1, false), set_config('statement_timeout', '30s', false),
  set_config('idle_in_transaction_session_timeout', '30s', false), set_config('application_name', 'bellhop', false),
  set_config('default_transaction_read_only', $2, false),
  pg_is_in_recovery() AS standby, current_setting('synchronous_commit') AS synchronous_commit,
  current_setting('server_encoding') AS encoding
"""


class PostgresqlDatabase:
    """A PostgreSQL primary. Transactions are READ COMMITTED; what loses against another one is tried again."""

    dialect: Literal["postgresql"] = "postgresql"
    exclusive = False

    def __init__(self, dsn: str) -> None:
        self._reading, self._writing = Availability("reading"), Availability("writing")
        self._write_engine = _engine(dsn, WRITERS, read_only=False)
        self._read_engine = _engine(dsn, READERS, read_only=True)
        # The pools' own queues would be unbounded, and a caller that goes away would cut a connection off.
        self._writers = asyncio.Semaphore(WRITERS)
        self._readers = asyncio.Semaphore(READERS)
        self._waiting = 0
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    @classmethod
    async def open(cls, dsn: str) -> "PostgresqlDatabase":
        """Connects to an existing database.

        Raises DatabaseRefused for a standby or a server that does not commit durably, ServiceUnavailable.
        """
        database = cls(dsn)
        try:
            (await connect(dsn)).terminate()
        except DatabaseRefused:
            raise
        except Exception as error:
            raise database._writing.translate(error) from error
        return database

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """See `Database.read`."""
        return await self._in_turn(self._readers, self._reading, self._read, fn)

    async def write(self, fn: Callable[[Connection], T]) -> T:
        """See `Database.write`."""
        if self._waiting >= WAITING_LIMIT:
            raise Overloaded("store")
        self._waiting += 1
        try:
            return await self._in_turn(self._writers, self._writing, self._write, fn)
        finally:
            self._waiting -= 1

    async def aclose(self) -> None:
        """See `Database.aclose`."""
        self._closed = True
        while self._running:
            await asyncio.wait(self._running)
        await self._write_engine.dispose()
        await self._read_engine.dispose()

    async def _in_turn(
        self,
        slots: asyncio.Semaphore,
        availability: Availability,
        operation: Callable[[Callable[[Connection], T]], Awaitable[T]],
        fn: Callable[[Connection], T],
    ) -> T:
        """Cancelling it while it waits its turn leaves nothing behind; once it has begun it runs to its end."""

        async def run() -> T:
            try:
                value = await operation(fn)
            except Exception as error:
                raise availability.translate(error) from None
            finally:
                slots.release()
            availability.worked()
            return value

        await slots.acquire()
        if self._closed:
            slots.release()
            raise ServiceUnavailable("store")
        task = asyncio.create_task(run())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def _read(self, fn: Callable[[Connection], T]) -> T:
        try:
            return await self._read_once(fn)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
        # It had died in the pool, and all others that are as old have been thrown away with it.
        return await self._read_once(fn)

    async def _read_once(self, fn: Callable[[Connection], T]) -> T:
        async with self._read_engine.connect() as connection:
            return await _guarded(connection, fn)

    async def _write(self, fn: Callable[[Connection], T]) -> T:
        attempt = 1
        while True:
            committing = False
            try:
                async with self._write_engine.connect() as connection:
                    value = await _guarded(connection, fn)
                    committing = True
                    await _guarded(connection, Connection.commit)
                    return value
            except DBAPIError as error:
                # As above, but never after an interrupted COMMIT: it may have happened.
                stale = attempt == 1 and error.connection_invalidated and not committing
                if not stale and (attempt == ATTEMPTS or not is_concurrent(error)):
                    raise
            attempt += 1


async def connect(dsn: str, *, read_only: bool = False, command_timeout: float | None = COMMAND_TIMEOUT) -> Any:
    """A connection of asyncpg's for the work of the store. Raises DatabaseRefused, and what asyncpg raises."""
    try:
        connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT, command_timeout=command_timeout)
    except ValueError:  # Its text, or that of its cause, may quote the password.
        raise DatabaseRefused("BELLHOP_DATABASE_URL is not a URL that asyncpg understands.") from None
    try:
        found = await connection.fetchrow(_SET_UP, f"{LOCK_TIMEOUT_MS}ms", "on" if read_only else "off")
        if found["standby"]:
            raise DatabaseRefused("The PostgreSQL server is a standby. Bellhop needs the primary.")
        if found["synchronous_commit"] == "off":
            raise DatabaseRefused(
                "The PostgreSQL server has synchronous_commit=off and would lose what was acknowledged. Set it to on "
                "for Bellhop's role or database."
            )
        if found["encoding"] != "UTF8":
            raise DatabaseRefused(f"The PostgreSQL database is encoded in {found['encoding']}. Bellhop needs UTF8.")
    except BaseException:
        connection.terminate()
        raise
    return connection


async def _guarded(connection: AsyncConnection, fn: Callable[[Connection], T]) -> T:
    try:
        return await connection.run_sync(fn)
    except Exception as error:
        if is_away(error):
            # Whatever state it is in, it does not go back into the pool.
            await connection.invalidate()
        raise


def _engine(dsn: str, size: int, *, read_only: bool) -> AsyncEngine:
    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: connect(dsn, read_only=read_only),
        isolation_level="AUTOCOMMIT" if read_only else "READ COMMITTED",
        pool_size=size,
        max_overflow=0,
        hide_parameters=True,
    )

"""SQLite: one thread writes, in groups, and two read."""

import asyncio
import contextlib
import fcntl
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar
from urllib.parse import quote

from sqlalchemy import Connection, Engine, QueuePool, RootTransaction, create_engine, event

from bellhop_server.domain.errors import Overloaded, ServiceUnavailable
from bellhop_server.store.failures import Availability, DatabaseRefused, is_away

T = TypeVar("T")

WAITING_LIMIT = 2000
GROUP_LIMIT = 200
READERS = 2
# Seconds. A commit costs as much as some hundred rows: while several want one, it waits this long for more of them.
LINGER = 0.002
BUSY_TIMEOUT_MS = 5000


class _Write(NamedTuple):
    fn: Callable[[Connection], Any]
    future: asyncio.Future[Any]


class _Outcome(NamedTuple):
    future: asyncio.Future[Any]
    value: Any
    error: Exception | None


class FileLock:
    """Holds `<file>.lock` for this process. The kernel lets go of it with the process, however that ends."""

    def __init__(self, database: Path) -> None:
        """Raises DatabaseRefused when another process holds it, or the folder does not take the file."""
        path = database.with_name(database.name + ".lock")
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DatabaseRefused(f"Cannot open {path}: {error.strerror}.") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise DatabaseRefused(f"{database} is in use by another process of Bellhop.") from error

    def release(self) -> None:
        """Lets go of it. The file stays: removing it would let two processes lock two files of that name."""
        os.close(self._file)


class SqliteDatabase:
    """A database file in WAL mode with synchronous=FULL, which group commits make as fast as NORMAL."""

    dialect: Literal["sqlite"] = "sqlite"
    exclusive = True

    def __init__(self, path: Path, lock: FileLock, loop: asyncio.AbstractEventLoop) -> None:
        self._lock = lock
        self._path = path
        self._file = _identity(path)
        self._loop = loop
        self._reading, self._writing = Availability("reading"), Availability("writing")
        self._read_engine = _engine(path, query_only=True)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="bellhop-read")
        self._write_engine = _engine(path, query_only=False)
        self._connection: Connection | None = None
        self._writes: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._closed = False
        self._writer = threading.Thread(target=self._write_all, name="bellhop-write", daemon=True)
        self._writer.start()

    @classmethod
    async def open(cls, path: Path) -> "SqliteDatabase":
        """Opens an existing file and locks it for this process. Raises DatabaseRefused, ServiceUnavailable."""
        lock = FileLock(path)
        try:
            database = cls(path, lock, asyncio.get_running_loop())
        except OSError as error:
            lock.release()
            raise DatabaseRefused(f"Cannot open {path}: {error.strerror}.") from error
        try:
            await database.write(lambda connection: None)
        except BaseException:
            await database.aclose()
            raise
        return database

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """See `Database.read`."""
        if self._closed:
            raise ServiceUnavailable("store")
        return await self._loop.run_in_executor(self._readers, self._read, fn)

    async def write(self, fn: Callable[[Connection], T]) -> T:
        """See `Database.write`."""
        if self._closed:
            raise ServiceUnavailable("store")
        if self._writes.qsize() >= WAITING_LIMIT:
            raise Overloaded("store")
        future: asyncio.Future[T] = self._loop.create_future()
        self._writes.put(_Write(fn, future))
        return await future

    async def aclose(self) -> None:
        """See `Database.aclose`."""
        if self._closed:
            return
        self._closed = True
        self._writes.put(None)
        await self._loop.run_in_executor(self._readers, self._writer.join)
        self._readers.shutdown()
        self._read_engine.dispose()
        self._write_engine.dispose()
        self._lock.release()

    def _read(self, fn: Callable[[Connection], T]) -> T:
        try:
            with self._read_engine.connect() as connection:
                try:
                    value = fn(connection)
                except Exception as error:
                    if is_away(error):
                        connection.invalidate()
                    raise
        except Exception as error:
            raise self._reading.translate(error) from None
        self._reading.worked()
        return value

    def _write_all(self) -> None:
        closing = crowded = False
        while not closing:
            group = [self._writes.get()]
            if crowded:
                time.sleep(LINGER)
            with contextlib.suppress(queue.Empty):
                while len(group) < GROUP_LIMIT:
                    group.append(self._writes.get_nowait())
            closing = None in group
            crowded = len(group) > 1
            writes = [write for write in group if write is not None]
            self._loop.call_soon_threadsafe(_resolve, self._outcomes(writes))
        self._disconnect()

    def _outcomes(self, writes: list[_Write]) -> list[_Outcome]:
        try:
            connection, transaction = self._begin()
        except Exception as error:
            # Nobody's fault. Trying each for itself would have every one of them wait for the lock.
            return [_Outcome(write.future, None, self._writing.translate(error)) for write in writes]
        try:
            with transaction:
                outcomes = [
                    _Outcome(write.future, write.fn(connection), None)
                    for write in writes
                    # A caller that has gone by now gets nothing written.
                    if not write.future.done()
                ]
        except Exception as error:
            if is_away(error):
                self._disconnect()
            if len(writes) == 1:
                return [_Outcome(writes[0].future, None, self._writing.translate(error))]
        else:
            self._writing.worked()
            return outcomes
        # One of them, or all of them together, cannot be done: each for itself, with an outcome of its own.
        return [outcome for write in writes for outcome in self._outcomes([write])]

    def _begin(self) -> tuple[Connection, RootTransaction]:
        try:
            if self._connection is None:
                self._connection = self._write_engine.connect()
            if _identity(self._path) != self._file:
                # SQLite would go on writing to a file that nobody will find again.
                raise DatabaseRefused(f"{self._path} is not the file that was opened.")
            return self._connection, self._connection.begin()
        except Exception as error:
            if is_away(error):
                self._disconnect()
            raise

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None


def _resolve(outcomes: list[_Outcome]) -> None:
    for future, value, error in outcomes:
        if future.done():
            continue
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _engine(path: Path, *, query_only: bool) -> Engine:
    # Never creates the file: one that was moved away must not be replaced by an empty one.
    uri = f"file:{quote(str(path))}?mode=rw"

    def connect() -> sqlite3.Connection:
        # isolation_level None leaves BEGIN to us. Connections move between the reading threads, one at a time.
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        try:
            for pragma in (
                f"busy_timeout = {BUSY_TIMEOUT_MS}",
                "journal_mode = WAL",
                "synchronous = FULL",
                "cache_size = -32000",
                # After a burst the log gives its space back.
                "journal_size_limit = 67108864",
                f"query_only = {int(query_only)}",
            ):
                connection.execute(f"PRAGMA {pragma}")
        except sqlite3.Error:
            # It is no database: nobody else has this connection to close it.
            connection.close()
            raise
        return connection

    engine = create_engine(
        "sqlite://",
        creator=connect,
        poolclass=QueuePool,
        pool_size=READERS if query_only else 1,
        max_overflow=0,
        hide_parameters=True,
    )
    if not query_only:
        event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    # IMMEDIATE takes the write lock at once: a transaction that reads first could not be upgraded after another wrote.
    connection.exec_driver_sql("BEGIN IMMEDIATE")

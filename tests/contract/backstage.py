"""Ways to a database that Bellhop does not know of: to look, to stand in its way, to take it away."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import asyncpg

from tests.postgres import PostgresServer


class Backstage(Protocol):
    """The same tricks for both backends. Each call blocks until it is done."""

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Runs one statement on a connection of its own, committed when it returns."""
        ...

    def blocked(self) -> Any:
        """A context in which whatever writes to `counters` has to wait."""
        ...

    def gone(self) -> Any:
        """A context in which the database is not there."""
        ...


class SqliteBackstage:
    """Another connection to the file, and a way to move it aside."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """See `Backstage`."""
        with closing(sqlite3.connect(self._path, isolation_level=None)) as connection:
            return connection.execute(statement).fetchall()

    @contextmanager
    def blocked(self) -> Iterator[None]:
        """See `Backstage`."""
        with closing(sqlite3.connect(self._path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield

    @contextmanager
    def gone(self) -> Iterator[None]:
        """See `Backstage`."""
        names = ["", "-wal", "-shm"]
        for name in names:
            Path(f"{self._path}{name}").rename(f"{self._path}{name}.aside")
        try:
            yield
        finally:
            for name in names:
                Path(f"{self._path}{name}").unlink(missing_ok=True)
                Path(f"{self._path}{name}.aside").rename(f"{self._path}{name}")


class PostgresqlBackstage:
    """Another connection to the server, and a way to stop it."""

    def __init__(self, url: str, server: PostgresServer) -> None:
        self._url = url
        self._server = server

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """See `Backstage`."""

        async def run() -> list[tuple[Any, ...]]:
            connection = await asyncpg.connect(self._url)
            try:
                return [tuple(row) for row in await connection.fetch(statement)]
            finally:
                await connection.close()

        return _in_thread(lambda: asyncio.run(run()))

    @contextmanager
    def blocked(self) -> Iterator[None]:
        """See `Backstage`."""
        held, enough = threading.Event(), threading.Event()

        async def hold() -> None:
            connection = await asyncpg.connect(self._url)
            try:
                async with connection.transaction():
                    await connection.execute("LOCK TABLE counters IN EXCLUSIVE MODE")
                    held.set()
                    enough.wait()
            finally:
                await connection.close()

        thread = threading.Thread(target=lambda: asyncio.run(hold()))
        thread.start()
        held.wait()
        try:
            yield
        finally:
            enough.set()
            thread.join()

    @contextmanager
    def gone(self) -> Iterator[None]:
        """See `Backstage`."""
        self._server.stop()
        try:
            yield
        finally:
            self._server.start()


def _in_thread(fn: Callable[[], list[tuple[Any, ...]]]) -> list[tuple[Any, ...]]:
    # asyncio.run must not be called where a loop runs.
    results: list[list[tuple[Any, ...]]] = []
    thread = threading.Thread(target=lambda: results.append(fn()))
    thread.start()
    thread.join()
    [result] = results
    return result

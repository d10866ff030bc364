"""A database, seen as two doors for plain functions over a SQLAlchemy `Connection`.

The functions are the same for SQLite and PostgreSQL. They may run more than once (after a conflict, or again on their
own when a group failed), so they touch nothing but the connection and what they return.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol, TypeVar
from urllib.parse import unquote

from sqlalchemy import Connection

from bellhop_server.store.failures import DatabaseRefused
from bellhop_server.store.postgresql import PostgresqlDatabase
from bellhop_server.store.sqlite import SqliteDatabase

T = TypeVar("T")

Dialect = Literal["sqlite", "postgresql"]


class Database(Protocol):
    """What a store needs of a database. Text of a driver never leaves it."""

    @property
    def dialect(self) -> Dialect:
        """Which of the two it is; `connection.dialect.name` says the same inside a function."""
        ...

    @property
    def exclusive(self) -> bool:
        """Whether no other process can write to it while this one has it open."""
        ...

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """Runs `fn` outside any transaction: each statement sees what was committed before it began.

        Raises ServiceUnavailable, and what `fn` raises.
        """
        ...

    async def write(self, fn: Callable[[Connection], T]) -> T:
        """Runs `fn` in a transaction and returns once it is committed durably. `fn` neither commits nor rolls back.

        If `fn` raises, nothing of it is kept and the error comes out here. A call cancelled before its turn does
        nothing; later than that it is carried out.

        Raises ServiceUnavailable, Overloaded (its turn never came), ConcurrentChange (it lost against other
        transactions repeatedly), and what `fn` raises.
        """
        ...

    async def aclose(self) -> None:
        """Finishes what was taken and lets go of the database."""
        ...


async def open_database(url: str) -> Database:
    """Opens an existing database: `sqlite:///file` or `postgresql://…` (libpq's form, `postgres://` too).

    Raises DatabaseRefused when it cannot be used, ServiceUnavailable when a server cannot be reached.
    """
    path = sqlite_path(url)
    if path is not None:
        return await SqliteDatabase.open(path)
    return await PostgresqlDatabase.open(postgresql_dsn(url))


def sqlite_path(url: str) -> Path | None:
    """The file that a `sqlite:` URL names; None for a URL of something else.

    Raises DatabaseRefused when it names no file.
    """
    scheme, _, rest = url.partition("://")
    if scheme != "sqlite":
        return None
    if not rest.startswith("/") or rest in ("/", "/:memory:"):
        raise DatabaseRefused("A SQLite database is a file: sqlite:///relative/path or sqlite:////absolute/path.")
    return Path(unquote(rest[1:]))


def postgresql_dsn(url: str) -> str:
    """The same URL as libpq and asyncpg write it. Raises DatabaseRefused for a URL of something else."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ("postgresql", "postgres", "postgresql+asyncpg"):
        raise DatabaseRefused("A database URL begins with sqlite:/// or postgresql://.")
    return f"postgresql://{rest}"

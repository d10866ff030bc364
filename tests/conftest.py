"""Databases for tests: a new one for each, on either of the two backends."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event

from bellhop_server.store.migrate import upgrade
from tests.postgres import PostgresServer, postgres_server
from tests.postgres_databases import PostgresDatabases

BACKENDS = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresServer]:
    """A PostgreSQL server that all tests of this process share. Never missing: it comes with the development tools."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_databases(postgresql: PostgresServer) -> PostgresDatabases:
    """The databases of that server."""
    return PostgresDatabases(postgresql, lambda url: asyncio.run(upgrade(url)))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with the tables in it, to be copied."""
    path = tmp_path_factory.mktemp("template") / "bellhop.db"
    asyncio.run(upgrade(f"sqlite:///{path}"))
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A database file of one's own."""
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'bellhop.db')}"


@pytest.fixture
def postgresql_url(postgresql: PostgresServer, postgresql_databases: PostgresDatabases) -> Iterator[str]:
    """A database of one's own on the shared server."""
    name = postgresql_databases.take()
    yield postgresql.url(name)
    postgresql_databases.give_back(name)


@pytest.fixture(params=BACKENDS)
def database_url(request: pytest.FixtureRequest) -> str:
    """A database of one's own with the tables in it, on each backend in turn."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def commits() -> Iterator[list[Connection]]:
    """Grows by one with every commit of a transaction, of whatever database."""
    seen: list[Connection] = []

    def note(connection: Connection) -> None:
        seen.append(connection)

    event.listen(Engine, "commit", note)
    yield seen
    event.remove(Engine, "commit", note)

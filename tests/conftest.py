"""Databases for tests: a new one for each, on either of the two backends."""

import asyncio
import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event

from bellhop_server.store.migrate import upgrade
from tests.postgres import PostgresServer, postgres_server

BACKENDS = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresServer]:
    """A PostgreSQL server that all tests of this process share. Never missing: it comes with the development tools."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def new_postgresql_database(postgresql: PostgresServer) -> Callable[[str], str]:
    """Makes a database like another one and returns its name."""
    numbers = itertools.count(1)

    def make(template: str) -> str:
        name = f"bellhop_{next(numbers)}"
        postgresql.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return name

    return make


@pytest.fixture(scope="session")
def postgresql_template(postgresql: PostgresServer, new_postgresql_database: Callable[[str], str]) -> str:
    """A database with the tables in it, to be copied."""
    name = new_postgresql_database("template0")
    asyncio.run(upgrade(postgresql.url(name)))
    return name


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
def postgresql_url(
    postgresql: PostgresServer, postgresql_template: str, new_postgresql_database: Callable[[str], str]
) -> Iterator[str]:
    """A database of one's own on the shared server."""
    name = new_postgresql_database(postgresql_template)
    yield postgresql.url(name)
    postgresql.execute(f"DROP DATABASE {name} WITH (FORCE)")


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

"""What the tests of both backends are given."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from bellhop_server.store.database import Database, open_database, sqlite_path
from bellhop_server.store.seal import MasterKey
from bellhop_server.store.sql_store import SqlStore
from tests.contract.backstage import Backstage, PostgresqlBackstage, SqliteBackstage
from tests.contract.registry_world import World


@pytest.fixture
def master_key() -> MasterKey:
    """The key that `store` seals under."""
    return MasterKey(bytes(range(32)))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database with the tables in it and nothing in them."""
    opened = await open_database(database_url)
    yield opened
    await opened.aclose()


@pytest.fixture
async def store(database: Database, master_key: MasterKey) -> AsyncIterator[SqlStore]:
    """A store over `database`."""
    store = SqlStore(database, master_key)
    yield store
    await store.aclose()


@pytest.fixture
async def other_store(database: Database, database_url: str, master_key: MasterKey) -> AsyncIterator[SqlStore]:
    """Another process's store on PostgreSQL; on SQLite, which has one process, another one over the same door."""
    if database.exclusive:
        store = SqlStore(database, master_key)
        yield store
        await store.aclose()
        return
    opened = await open_database(database_url)
    store = SqlStore(opened, master_key)
    yield store
    await store.aclose()
    await opened.aclose()


@pytest.fixture
def backstage(database_url: str, request: pytest.FixtureRequest) -> Backstage:
    """Another way to the database of this test."""
    path = sqlite_path(database_url)
    if path is not None:
        return SqliteBackstage(path)
    return PostgresqlBackstage(database_url, request.getfixturevalue("postgresql"))


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    """A registry over a database of its own."""
    with asyncio.Runner() as runner:
        world = World(database_url, runner)
        yield world
        world.close()

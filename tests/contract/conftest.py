"""What the tests of both backends are given."""

from collections.abc import AsyncIterator

import pytest

from bellhop_server.store.database import Database, open_database
from bellhop_server.store.seal import MasterKey
from bellhop_server.store.sql_store import SqlStore


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

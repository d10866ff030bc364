"""Cursors follow commits on PostgreSQL (P10), where several really write at the same time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from bellhop_server.app.watching import Watching
from bellhop_server.clock import SystemClock
from bellhop_server.domain.message import Outcome, ResultFilter
from bellhop_server.domain.query import ResultQuery
from bellhop_server.queue.local import LocalQueue
from bellhop_server.store.seal import MasterKey
from bellhop_server.store.sql_store import SqlStore
from tests.contract.messaging import NOW, accepted, claimed, planned, report, result
from tests.contract.stream_reader import Told, follow

pytestmark = pytest.mark.promise("P10")


async def test_numbers_follow_commits_and_not_the_order_in_which_they_were_asked_for(
    postgresql_url: str, store_on_postgresql: SqlStore, other_store_on_postgresql: SqlStore
) -> None:
    """One recorder is held up after its results have their numbers and before they are committed; what another one
    records meanwhile must not be read before them.
    """
    store, other = store_on_postgresql, other_store_on_postgresql
    message = await accepted(store)
    await planned(store, message, ["a1", "a2"], ["b1", "b2"])
    first, second = await claimed(store)
    await store.record([report(first, result("a1"))], NOW)
    watching = Watching(store, LocalQueue(), SystemClock())
    seen: list[int] = []

    async def look() -> None:
        for number, _ in await store.list_results(ResultQuery(message.ref), seen[-1] if seen else 0, 10):
            seen.append(number)

    async with locked(postgresql_url, f"SELECT * FROM outcome_counts WHERE message_ref = {message.ref} FOR UPDATE"):
        slow = asyncio.create_task(store.record([report(first, result("a2"), done=True)], NOW))
        await waiting_for_locks(postgresql_url, 1)
        quick_one = result("b1", Outcome.TOKEN_INVALID)
        quick = asyncio.create_task(other.record([report(second, quick_one)], NOW))
        waiting = asyncio.create_task(waiting_for_locks(postgresql_url, 2))
        await asyncio.wait((quick, waiting), return_when=asyncio.FIRST_COMPLETED)
        await look()
        waiting.cancel()
    await asyncio.gather(slow, quick)
    await look()
    await other.record([report(second, result("b2"), done=True)], NOW)
    await look()

    assert seen == [1, 2, 3, 4], "a reader that followed by its cursor missed results"
    told = Told([])
    await follow(watching, message, told, ResultFilter.ALL)
    assert sorted(name for name, _ in told.results) == ["a1", "a2", "b1", "b2"]


@asynccontextmanager
async def locked(url: str, query: str) -> AsyncIterator[None]:
    """Another transaction holds the rows of a query, which are there."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            assert await connection.fetch(query)
            yield
    finally:
        await connection.close()


async def waiting_for_locks(url: str, count: int) -> None:
    """Returns once so many transactions wait for others."""
    connection = await asyncpg.connect(url)
    try:
        query = "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted"
        async with asyncio.timeout(30):
            while await connection.fetchval(query) < count:
                pass
    finally:
        await connection.close()


@pytest.fixture
async def store_on_postgresql(postgresql_url: str) -> AsyncIterator[SqlStore]:
    """A store of a process."""
    async with SqlStore.open(postgresql_url, MasterKey(bytes(32))) as store:
        yield store


@pytest.fixture
async def other_store_on_postgresql(postgresql_url: str) -> AsyncIterator[SqlStore]:
    """Another process's store over the same database."""
    async with SqlStore.open(postgresql_url, MasterKey(bytes(32))) as store:
        yield store

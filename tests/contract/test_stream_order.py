"""Cursors follow commits (P10): several recorders over one database, readers that follow by their last number."""

import asyncio

import pytest

from bellhop_server.app.watching import Watching
from bellhop_server.clock import SystemClock
from bellhop_server.queue.local import LocalQueue
from bellhop_server.store.sql_store import SqlStore
from tests.contract.messaging import accepted, claimed, planned, results_of
from tests.contract.stream_reader import FILTERS, Told, follow, through, write

pytestmark = pytest.mark.promise("P10")


async def test_readers_follow_many_recorders_over_one_database(store: SqlStore, other_store: SqlStore) -> None:
    """What is told is what is kept, whoever announces, and in whatever order the announcements come."""
    message = await accepted(store)
    await planned(store, message, *([f"{batch}-{number}" for number in range(25)] for batch in range(8)))
    queue = LocalQueue()
    watching = Watching(store, queue, SystemClock())
    told = [Told([]) for _ in range(6)]
    readers = [
        asyncio.create_task(follow(watching, message, each, FILTERS[turn % 3])) for turn, each in enumerate(told)
    ]
    stores = (store, other_store) * 4
    batches = await claimed(store)
    await asyncio.gather(
        *(
            write(each, queue, batch, silent=turn == 0)
            for turn, (each, batch) in enumerate(zip(stores, batches, strict=True))
        )
    )
    await asyncio.gather(*readers)

    kept = await results_of(store, message)
    assert [seq for seq, _ in kept] == list(range(1, 201))
    for turn, each in enumerate(told):
        assert each.results == through(FILTERS[turn % 3], kept)
        assert each.end == told[0].end

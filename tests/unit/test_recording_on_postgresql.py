"""What can only go wrong where transactions run side by side."""

import asyncio
from contextlib import aclosing

import asyncpg

from bellhop_server.store.database import open_database
from bellhop_server.store.seal import MasterKey
from bellhop_server.store.sql_store import SqlStore
from tests.contract.messaging import NOW, accepted, claimed, planned, report, result


async def test_nobody_takes_a_batch_over_while_its_holder_records(postgresql_url: str) -> None:
    """Else the new holder would not see those results, and hand the same devices over again."""
    async with aclosing(await open_database(postgresql_url)) as database:
        store = SqlStore(database, MasterKey(bytes(32)))
        message = await accepted(store)
        await planned(store, message, ["d1"])
        [batch] = await claimed(store, "w1", NOW, until=NOW + 10)
        connection = await asyncpg.connect(postgresql_url)
        try:
            async with connection.transaction():
                await connection.execute("SELECT 1 FROM messages FOR UPDATE")
                recording = asyncio.create_task(store.record([report(batch, result("d1"))], NOW + 11))
                while not await connection.fetchval("SELECT COUNT(*) FROM pg_locks WHERE NOT granted"):
                    assert not recording.done()
                assert await claimed(store, "w2", NOW + 11) == []
            [recorded] = await recording
            assert recorded.completed
        finally:
            await connection.close()
        [taken_over] = await claimed(store, "w2", NOW + 11, until=NOW + 99)
        assert await store.reported(taken_over) == {("d1", "")}

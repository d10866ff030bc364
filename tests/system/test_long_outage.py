"""A database that is away for longer than a lease, with one worker: what it knows it keeps, and writes in the end."""

from collections import Counter
from collections.abc import AsyncIterator

import pytest

from bellhop_server.domain.batch import DOUBT
from bellhop_server.domain.delivery import LEASE
from bellhop_server.domain.message import Outcome, ResendPolicy
from bellhop_server.domain.query import ResultQuery
from bellhop_server.store.seal import MasterKey
from bellhop_server.store.sql_store import SqlStore
from bellhop_simulators import ApnsSimulator
from tests.system.crowd import device_id, gather_crowd, token
from tests.system.killable import MASTER_KEY
from tests.system.worker import CutStore, HeldProvider, SteeredClock, Worker, accept

DEVICES = 2 * DOUBT


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[CutStore]:
    """On each database in turn."""
    await gather_crowd(database_url, MASTER_KEY, ApnsSimulator().key, DEVICES)
    async with SqlStore.open(database_url, MasterKey(MASTER_KEY)) as opened:
        yield CutStore(opened)


@pytest.mark.promise("P6")
@pytest.mark.promise("P7")
@pytest.mark.promise("P9")
async def test_what_is_in_memory_is_written_when_the_store_is_back(store: CutStore) -> None:
    clock, provider = SteeredClock(), HeldProvider()
    message = await accept(store, clock, ResendPolicy.NEVER)
    worker = Worker("w", store, clock, provider)
    async with worker.working():
        await provider.has(DOUBT)
        store.reachable = False
        provider.answers.set()
        for _ in range(5):
            clock.advance(LEASE)
            worker.look()
            await clock.sleep(0)
        assert len(provider.pushed) == DOUBT
        store.reachable = True
        worker.look()
        await worker.told(message)

    results = [result for _, result in await store.list_results(ResultQuery(message.ref), 0, 10 * DEVICES)]
    assert Counter(result.device_id for result in results) == Counter(map(device_id, range(DEVICES)))
    assert {result.outcome for result in results} == {Outcome.ACCEPTED}
    assert Counter(provider.pushed) == Counter(token(device_id(number)) for number in range(DEVICES))

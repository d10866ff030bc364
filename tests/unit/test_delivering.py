"""The worker: what it claims, and what it must not claim again."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

import pytest

from bellhop_server.app.delivering import Deliverer
from bellhop_server.domain import Micros
from bellhop_server.domain.batch import ClaimedBatch
from bellhop_server.domain.errors import ServiceUnavailable
from bellhop_server.domain.lanes import LANE_LIMIT, REFILL, Lane, Share, Survey
from bellhop_server.domain.notification import Priority
from bellhop_server.ports import Work
from bellhop_server.queue.local import LocalQueue
from tests.unit.app_fakes import FakeClock, batch_of, device

LANE = Lane("shop", Priority.NORMAL)


class FakeBatches:
    """Claims as a store that knows nothing of leases: whatever is not said to be held."""

    exclusive = False

    def __init__(self, count: int) -> None:
        self.batches = [batch_of([device("d")], batch_id=number) for number in range(count)]
        self.faults: list[Exception] = []
        self.claimed: list[int] = []
        self.asked = asyncio.Event()
        self.emptied = asyncio.Event()
        self.released = False

    async def survey(self, now: Micros, held: Collection[int]) -> Survey:
        self.asked.set()
        if self.faults:
            raise self.faults.pop()
        return Survey([LANE] if any(batch.batch_id not in held for batch in self.batches) else [], None)

    async def claim(
        self, worker: str, now: Micros, lease_until: Micros, shares: Sequence[Share], held: Collection[int]
    ) -> list[ClaimedBatch]:
        [share] = shares
        found = [batch for batch in self.batches if batch.batch_id not in held][: share.batches]
        self.claimed += [batch.batch_id for batch in found]
        return found

    async def release(self, worker: str) -> int:
        self.released = True
        return 0


class FakeHandover:
    """Carries out a batch once it is told to."""

    def __init__(self, store: FakeBatches) -> None:
        self._store = store
        self.go_on = asyncio.Event()
        self.begun: list[int] = []
        self.fault: Exception | None = None

    async def carry_out(self, batch: ClaimedBatch, settled: Callable[[int], None]) -> None:
        self.begun.append(batch.batch_id)
        await self.go_on.wait()
        self._store.batches.remove(batch)
        if not self._store.batches:
            self._store.emptied.set()
        if self.fault is not None:
            raise self.fault
        settled(len(batch.items))


async def working(store: FakeBatches, queue: LocalQueue) -> tuple[Deliverer, FakeHandover, "asyncio.Task[None]"]:
    handover = FakeHandover(store)
    worker = Deliverer("w", store, queue, FakeClock(), handover)
    task = asyncio.create_task(worker.run())
    await store.asked.wait()
    return worker, handover, task


async def end(worker: Deliverer, task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await worker.drain(5)


async def test_what_is_in_hand_is_not_claimed_again() -> None:
    store, queue = FakeBatches(3), LocalQueue()
    worker, handover, task = await working(store, queue)
    store.asked.clear()
    queue.announce_work(Work.DELIVER)
    await store.asked.wait()

    assert store.claimed == [0, 1, 2]

    handover.go_on.set()
    await end(worker, task)
    assert store.released


async def test_no_more_is_in_hand_than_its_lane_may_have_and_what_gets_free_is_filled() -> None:
    store, queue = FakeBatches(LANE_LIMIT + 300), LocalQueue()
    worker, handover, task = await working(store, queue)
    async with asyncio.timeout(5):
        while len(handover.begun) < LANE_LIMIT - REFILL:
            queue.announce_work(Work.DELIVER)
            await asyncio.sleep(0)
    for _ in range(200):
        queue.announce_work(Work.DELIVER)
        await asyncio.sleep(0)
    assert len(handover.begun) <= LANE_LIMIT

    handover.go_on.set()
    async with asyncio.timeout(5):
        await store.emptied.wait()
    assert sorted(store.claimed) == list(range(LANE_LIMIT + 300))
    await end(worker, task)


@pytest.mark.parametrize("fault", [ServiceUnavailable("store"), ValueError("boom")])
async def test_what_fails_gives_back_its_place(fault: Exception) -> None:
    store, queue = FakeBatches(5), LocalQueue()
    worker, handover, task = await working(store, queue)
    handover.fault = fault
    handover.go_on.set()
    async with asyncio.timeout(5):
        await store.emptied.wait()
    await end(worker, task)
    assert worker._lanes._total == 0
    assert not worker._held


async def test_nothing_that_a_claim_raises_ends_the_worker() -> None:
    store, queue = FakeBatches(1), LocalQueue()
    store.faults = [ServiceUnavailable("store"), ValueError("unreadable")]
    worker, handover, task = await working(store, queue)
    handover.go_on.set()
    async with asyncio.timeout(5):
        while store.batches:
            queue.announce_work(Work.DELIVER)
            store.asked.clear()
            await store.asked.wait()

    assert store.claimed == [0]
    await end(worker, task)

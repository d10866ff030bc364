"""The worker: what it claims, and what it must not claim again."""

import asyncio
from collections.abc import Collection
from contextlib import suppress

from bellhop_server.app.delivering import SLOTS, Deliverer
from bellhop_server.domain import Micros
from bellhop_server.domain.batch import ClaimedBatch
from bellhop_server.domain.errors import ServiceUnavailable
from bellhop_server.ports import Work
from bellhop_server.queue.local import LocalQueue
from tests.unit.app_fakes import FakeClock, batch_of, device


class FakeBatches:
    """Claims as a store that knows nothing of leases: whatever is not said to be held."""

    exclusive = False

    def __init__(self, count: int) -> None:
        self.batches = [batch_of([device("d")], batch_id=number) for number in range(count)]
        self.faults: list[Exception] = []
        self.claimed: list[int] = []
        self.asked = asyncio.Event()
        self.released = False

    async def claim(
        self, worker: str, now: Micros, lease_until: Micros, limit: int, held: Collection[int] = ()
    ) -> list[ClaimedBatch]:
        self.asked.set()
        if self.faults:
            raise self.faults.pop()
        found = [batch for batch in self.batches if batch.batch_id not in held][:limit]
        self.claimed += [batch.batch_id for batch in found]
        return found

    async def next_due(self) -> Micros | None:
        return None

    async def release(self, worker: str) -> int:
        self.released = True
        return 0


class FakeHandover:
    """Carries out a batch once it is told to."""

    def __init__(self, store: FakeBatches) -> None:
        self._store = store
        self.go_on = asyncio.Event()

    async def carry_out(self, batch: ClaimedBatch) -> None:
        await self.go_on.wait()
        self._store.batches.remove(batch)


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


async def test_a_free_slot_is_filled() -> None:
    store, queue = FakeBatches(SLOTS + 2), LocalQueue()
    worker, handover, task = await working(store, queue)
    assert store.claimed == list(range(SLOTS))
    handover.go_on.set()
    async with asyncio.timeout(5):
        while store.batches:
            store.asked.clear()
            await store.asked.wait()

    assert sorted(store.claimed) == list(range(SLOTS + 2))
    await end(worker, task)


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

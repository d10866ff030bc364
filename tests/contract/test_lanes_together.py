"""Several lanes and one worker on both databases: nobody waits for a look that only the clock makes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, nullcontext

import pytest

from bellhop_server.app import delivering
from bellhop_server.app.delivering import Deliverer
from bellhop_server.app.fencing import Fence
from bellhop_server.app.handover import Handover
from bellhop_server.app.hygiene import Hygiene
from bellhop_server.app.recording import Recorder
from bellhop_server.clock import SystemClock
from bellhop_server.domain.batch import BATCH_SIZE, NewBatch
from bellhop_server.domain.lanes import LANE_LIMIT
from bellhop_server.domain.message import Message
from bellhop_server.domain.notification import Priority
from bellhop_server.domain.planning import AudiencePage
from bellhop_server.ports import Work
from bellhop_server.queue.local import LocalQueue
from bellhop_server.store.sql_store import SqlStore
from tests.contract.messaging import items, send
from tests.sealing import STAMPER

pytestmark = pytest.mark.promise("P12")


@pytest.fixture
async def queue(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LocalQueue]:
    """That of a worker who looks again only when it is told to, or knows that something will be due."""
    monkeypatch.setattr(delivering, "POLL", 3600.0)
    clock, queue = SystemClock(), LocalQueue()
    recorder = Recorder(store, queue, clock)
    # Without a provider: every device is gone, so that all ends at the fence read.
    handover = Handover(store, clock, Fence(nullcontext), recorder, Hygiene(store, clock), {}, STAMPER)
    deliverer = Deliverer("worker", store, queue, clock, handover)
    async with AsyncExitStack() as stack:
        tasks = [asyncio.create_task(recorder.run()), asyncio.create_task(deliverer.run())]
        stack.push_async_callback(asyncio.gather, *tasks, return_exceptions=True)
        stack.callback(lambda: [task.cancel() for task in tasks])
        stack.push_async_callback(deliverer.drain, 5.0)
        yield queue


async def put(store: SqlStore, name: str, app_id: str, sizes: list[int], due: int = 0) -> Message:
    """A message with batches of these sizes; they are retries if they are due at a time."""
    message = (await store.accept(send(name, name, app_id=app_id), "mark", name, 1)).message
    batches = [
        NewBatch(items(*(f"{name}-{place}-{number}" for number in range(size))), due + place, Priority.NORMAL, due > 0)
        for place, size in enumerate(sizes)
    ]
    page = AudiencePage([item for batch in batches for item in batch.items], [], None)
    await store.add_plan(message.ref, "", page, batches, 1)
    return message


async def finished(store: SqlStore, messages: list[Message]) -> None:
    """Returns once each device of each has its result."""
    async with asyncio.timeout(30):
        while True:
            counts = await store.counts([message.ref for message in messages])
            if all(each.finished_count == each.device_count for each in counts.values()):
                return
            await asyncio.sleep(0.01)


async def test_lanes_that_have_more_than_a_share_go_on_until_they_are_empty(store: SqlStore, queue: LocalQueue) -> None:
    sizes = [BATCH_SIZE] * (2 * LANE_LIMIT // BATCH_SIZE)
    messages = [await put(store, f"m{app}", f"app{app}", sizes) for app in range(3)]
    queue.announce_work(Work.DELIVER)

    await finished(store, messages)


async def test_small_and_large_batches_side_by_side(store: SqlStore, queue: LocalQueue) -> None:
    messages = [
        await put(store, "broadcast", "a", [BATCH_SIZE] * 10),
        *[await put(store, f"single{number}", "a", [1]) for number in range(100)],
        *[await put(store, f"other{number}", "b", [3]) for number in range(50)],
    ]
    queue.announce_work(Work.DELIVER)

    await finished(store, messages)


async def test_retries_of_several_lanes_are_taken_when_they_are_due(store: SqlStore, queue: LocalQueue) -> None:
    soon = SystemClock().now() + 300_000
    messages = [await put(store, f"m{app}", f"app{app}", [1] * 40, due=soon) for app in range(3)]
    later = [await put(store, f"n{app}", f"app{app}", [1] * 5, due=soon + 300_000) for app in range(3)]
    queue.announce_work(Work.DELIVER)

    await finished(store, messages + later)

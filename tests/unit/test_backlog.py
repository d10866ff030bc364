"""What waits for a connection, and how connections share the turns of the event loop."""

import asyncio
from collections.abc import Callable

from bellhop_server.providers.backlog import Backlog, Failure
from bellhop_server.providers.engine import FailureKind
from bellhop_server.providers.turns import Turns
from tests.request_batch import RecordingBatch


class FakeWorker:
    def __init__(self, work: int, step: int, note: Callable[[int], object]) -> None:
        self.work = work
        self._step = step
        self._note = note

    def step(self, budget: int) -> tuple[int, bool]:
        spent = min(self._step, self.work)
        self.work -= spent
        self._note(spent)
        return spent, self.work > 0


async def test_all_workers_together_share_a_turn() -> None:
    turns = Turns()
    spent = [0]

    def note(units: int) -> None:
        spent[0] += units

    workers = [FakeWorker(1000, 100, note) for _ in range(4)]
    for worker in workers:
        turns.want(worker)
        turns.want(worker)
    seen = []
    while any(worker.work for worker in workers):
        before = spent[0]
        await asyncio.sleep(0)
        seen.append(spent[0] - before)
        # Nobody runs ahead of the others by more than a step.
        assert max(worker.work for worker in workers) - min(worker.work for worker in workers) <= 100
    assert max(seen) == 200
    assert spent[0] == 4000


async def test_a_worker_that_raises_keeps_nobody_waiting() -> None:
    raised: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context["exception"]))
    turns = Turns()
    broken, sound = FakeWorker(1, 1, lambda _: 1 // 0), FakeWorker(1, 1, lambda _: None)
    turns.want(broken)
    turns.want(sound)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sound.work == 0
    assert [type(error) for error in raised] == [ZeroDivisionError]


async def test_the_backlog_is_first_come_first_served_and_takes_back() -> None:
    now = [100.0]
    wakes: list[int] = []
    works = Backlog(lambda: now[0], lambda: wakes.append(1))
    first, second = RecordingBatch(5), RecordingBatch(2)
    first.deadline, second.deadline = 110.0, 105.0
    works.add(first)
    works.add(second)
    works.add(RecordingBatch(0))
    assert (len(works), len(wakes)) == (7, 2)
    work = works.head(now[0])
    assert work is not None
    assert work.batch is first
    assert list(work.take(3)) == [0, 1, 2]
    works.back(work, [1, 2])
    assert list(work.take(1)) == [1]
    assert list(work.take(9)) == [2]
    assert list(work.take(9)) == [3, 4]
    now[0] = 106.0
    assert works.head(now[0]) is None
    assert second.counts() == {"not_sent": 2}
    failure = Failure(FailureKind.NOT_SENT, "refused")
    works.failed(work, 3, failure, None)
    assert works.head(now[0]) is work
    works.failed(work, 4, Failure(FailureKind.UNKNOWN, "lost"), None)
    assert first.counts() == {"unknown": 1}
    now[0] = 110.0
    works.failed(work, 2, failure, None)
    assert first.counts() == {"unknown": 1, "not_sent": 1}
    assert works.head(now[0]) is None
    assert first.counts() == {"unknown": 1, "not_sent": 2}
    assert not works.pending()
    third = RecordingBatch(3)
    third.deadline = 200.0
    works.add(third)
    works.expire()
    assert third.counts() == {}
    third.deadline = 110.0
    works.expire()
    assert third.counts() == {"not_sent": 3}
    works.close("over")

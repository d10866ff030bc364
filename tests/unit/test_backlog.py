"""What waits for a connection, and how connections share the turns of the event loop."""

import asyncio
import time
from collections.abc import Callable

import pytest

from bellhop_server.providers import backlog
from bellhop_server.providers.backlog import Backlog, Failure, Work
from bellhop_server.providers.engine import REFUSED_STREAM, FailureKind
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


def batch_of(size: int, priority: int, deadline: float = 200.0) -> RecordingBatch:
    batch = RecordingBatch(size, priority=priority)
    batch.deadline = deadline
    return batch


def head_of(works: Backlog, now: float = 100.0) -> Work:
    work = works.head(now)
    assert work is not None
    return work


def take_all(works: Backlog) -> list[tuple[object, list[int]]]:
    """Everything in the order in which it goes, up to two of a batch at a time."""
    taken: list[tuple[object, list[int]]] = []
    while (work := works.head(100.0)) is not None:
        taken.append((work.batch, list(work.take(2))))
    return taken


async def test_a_higher_priority_goes_first_and_the_first_that_came_within_one() -> None:
    works = Backlog(lambda: 100.0, lambda: None)
    low, normal, later, high, last = (batch_of(1, priority) for priority in (1, 2, 2, 3, 3))
    for batch in (normal, low, high, later, last):
        works.add(batch)
    assert take_all(works) == [(batch, [0]) for batch in (high, last, normal, later, low)]
    works.close("over")


async def test_a_batch_half_taken_waits_for_a_higher_priority_and_goes_on_before_its_own() -> None:
    works = Backlog(lambda: 100.0, lambda: None)
    normal, later, high = batch_of(5, 2), batch_of(1, 2), batch_of(3, 3)
    works.add(normal)
    works.add(later)
    assert list(head_of(works).take(3)) == [0, 1, 2]
    works.add(high)
    assert take_all(works) == [(high, [0, 1]), (high, [2]), (normal, [3, 4]), (later, [0])]
    works.close("over")


async def test_what_is_put_back_goes_to_the_front_of_its_own_priority() -> None:
    works = Backlog(lambda: 100.0, lambda: None)
    normal, later, high, low = batch_of(4, 2), batch_of(1, 2), batch_of(1, 3), batch_of(1, 1)
    works.add(normal)
    work = head_of(works)
    assert list(work.take(4)) == [0, 1, 2, 3]
    assert not works.pending()
    for batch in (low, later, high):
        works.add(batch)
    works.back(work, [2, 3])
    works.failed(work, 0, Failure(FailureKind.NOT_SENT, "went away"), None)
    assert take_all(works) == [(high, [0]), (normal, [2, 3]), (normal, [0]), (later, [0]), (low, [0])]
    works.close("over")


async def test_after_a_pause_it_is_at_the_front_of_its_own_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "_FIRST_PAUSE", 0.0)
    woken = asyncio.Event()
    works = Backlog(lambda: 100.0, woken.set)
    normal, later, high = batch_of(1, 2), batch_of(1, 2), batch_of(1, 3)
    works.add(normal)
    work = head_of(works)
    refused = Failure(FailureKind.NOT_SENT, "refused", REFUSED_STREAM)
    for _ in range(2):
        assert list(work.take(1)) == [0]
        works.failed(work, 0, refused, None)
    assert works.head(100.0) is None
    works.add(later)
    works.add(high)
    woken.clear()
    await woken.wait()
    assert take_all(works) == [(high, [0]), (normal, [0]), (later, [0])]
    works.close("over")


async def test_deadlines_hold_across_priorities() -> None:
    """Also behind a higher priority that has time: by the timer, by `expire`, and at the head."""
    works = Backlog(time.monotonic, lambda: None)
    now = time.monotonic()
    high, soon, withdrawn, low = (
        batch_of(2, priority, now + seconds) for priority, seconds in ((3, 60), (2, 0.02), (2, 60), (1, 60))
    )
    for batch in (low, soon, withdrawn, high):
        works.add(batch)
    await soon.finished()
    assert soon.counts() == {"not_sent": 2}
    withdrawn.deadline = now
    works.expire()
    assert withdrawn.counts() == {"not_sent": 2}
    high.deadline = now
    assert head_of(works, now).batch is low
    assert high.counts() == {"not_sent": 2}
    assert len(works) == 2
    works.close("over")
    assert low.counts() == {"not_sent": 2}

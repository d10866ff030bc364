"""The scheduler: fires when the store says that it is time, and looks no more often than it must."""

import asyncio
from contextlib import suppress

import pytest

from bellhop_server.app.scheduling import AT_ONCE, PAUSE, POLL, Scheduler
from bellhop_server.domain import SECOND
from bellhop_server.domain.errors import ServiceUnavailable
from bellhop_server.ports import Listener, Work
from bellhop_server.queue.local import LocalQueue
from tests.unit.app_fakes import FakeClock


class FakeSchedule:
    """Times of messages, by a clock of its own that is `ahead` of the process's."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.ahead = 0
        self.times: list[int] = []
        self.fired: list[int] = []
        self.looks = 0
        self.fault: Exception | None = None
        self.rival = False

    @property
    def now(self) -> int:
        return self.clock.now() + self.ahead

    async def until_fire(self, now: int) -> int | None:
        self.looks += 1
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        return min(self.times) - self.now if self.times else None

    async def fire(self, now: int, limit: int) -> int:
        if self.rival:
            self.rival = False
            return 0
        due = sorted(each for each in self.times if each <= self.now)[:limit]
        self.times = [each for each in self.times if each not in due]
        self.fired += due
        return len(due)


class PatientQueue(LocalQueue):
    """A wait passes at once by the test's clock, up to so many of them; `waits` tells how long they were."""

    def __init__(self, clock: FakeClock, most: int) -> None:
        super().__init__()
        self.waits: list[float] = []
        self.enough = asyncio.Event()
        self._clock = clock
        self._most = most

    def listen(self, work: Work) -> Listener:
        listener = super().listen(work)
        wait = listener.wait

        async def pass_by(timeout: float) -> bool:
            if await wait(0):
                return True
            self.waits.append(timeout)
            if len(self.waits) >= self._most:
                self.enough.set()
                return await wait(60)
            self._clock.micros += int(timeout * SECOND)
            return False

        if work is Work.FIRE:
            listener.wait = pass_by  # A listener of this test alone.
        return listener


class Stage:
    """A scheduler at work."""

    def __init__(self, most: int) -> None:
        self.clock = FakeClock()
        self.store = FakeSchedule(self.clock)
        self.queue = PatientQueue(self.clock, most)
        self.planner = self.queue.listen(Work.PLAN)
        self.scheduler = Scheduler(self.store, self.queue, self.clock)

    async def run(self) -> None:
        task = asyncio.create_task(self.scheduler.run())
        try:
            async with asyncio.timeout(5):
                await self.queue.enough.wait()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_what_fell_due_while_nobody_served_is_fired_at_once() -> None:
    stage = Stage(most=1)
    stage.store.times = [stage.clock.now() - place for place in range(AT_ONCE + 1)]
    await stage.run()
    assert len(stage.store.fired) == AT_ONCE + 1
    assert await stage.planner.wait(0)
    assert stage.queue.waits == [POLL]


async def test_the_next_one_is_waited_for_and_not_polled() -> None:
    stage = Stage(most=4)
    first = stage.clock.now()
    stage.store.times = [first + int(2 * POLL * SECOND) + 500_000]
    await stage.run()
    assert stage.queue.waits == [POLL, POLL, 0.5, POLL]
    assert stage.store.fired == [first + int(2 * POLL * SECOND) + 500_000]
    assert await stage.planner.wait(0)


async def test_what_is_scheduled_meanwhile_is_heard_of() -> None:
    stage = Stage(most=1)
    work = asyncio.create_task(stage.scheduler.run())
    async with asyncio.timeout(5):
        await stage.queue.enough.wait()
        stage.store.times = [stage.clock.now()]
        stage.queue.announce_work(Work.FIRE)
        assert await stage.planner.wait(5)
    assert len(stage.store.fired) == 1
    work.cancel()


@pytest.mark.parametrize("ahead", [-7 * SECOND, 7 * SECOND])
async def test_it_is_the_stores_clock_that_counts(ahead: int) -> None:
    stage = Stage(most=3)
    stage.store.ahead = ahead
    time = stage.store.now + 3 * SECOND
    stage.store.times = [time]
    await stage.run()
    assert stage.queue.waits[0] == 3
    assert stage.store.fired == [time]


async def test_a_clock_that_is_set_forward_is_noticed() -> None:
    stage = Stage(most=2)
    stage.store.times = [stage.clock.now() + 3600 * SECOND]
    stage.store.ahead = 0
    running = asyncio.create_task(stage.run())
    await asyncio.sleep(0)
    stage.store.ahead = 3600 * SECOND
    await running
    assert len(stage.store.fired) == 1


@pytest.mark.parametrize("fault", [ServiceUnavailable("store"), RuntimeError("unforeseen")])
async def test_a_store_that_is_away_is_asked_again(fault: Exception) -> None:
    stage = Stage(most=2)
    stage.store.fault = fault
    stage.store.times = [stage.clock.now()]
    await stage.run()
    assert stage.queue.waits == [PAUSE, POLL]
    assert len(stage.store.fired) == 1


async def test_another_scheduler_that_is_at_it_is_left_in_peace() -> None:
    stage = Stage(most=2)
    stage.store.rival = True
    stage.store.times = [stage.clock.now()]
    await stage.run()
    assert stage.queue.waits == [PAUSE, POLL]

"""How fast a project is sent to: a second's worth at once, then by the rate, and not at all while paused."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellhop_server.domain import SECOND, Micros
from bellhop_server.providers.fcm.bucket import Bucket

LATER = 1e9


class SteppedClock:
    """Stands still until it is moved, and wakes those whose time has come, in the order of their times."""

    def __init__(self) -> None:
        self.time = 1000.0
        self._sleeping: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = 0

    def now(self) -> Micros:
        return int(self.time * SECOND)

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self._numbers += 1
        self._sleeping.append((self.time + seconds, self._numbers, future))
        await future

    async def move(self, seconds: float) -> None:
        end = self.time + seconds
        while True:
            await settle()
            due = sorted(each for each in self._sleeping if each[0] <= end and not each[2].cancelled())
            if not due:
                break
            self._sleeping.remove(due[0])
            self.time = max(self.time, due[0][0])
            due[0][2].set_result(None)
        self.time = end
        await settle()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


class Queue:
    """Takers, and when each had its turn."""

    def __init__(self, bucket: Bucket, clock: SteppedClock) -> None:
        self.bucket = bucket
        self.clock = clock
        self.turns: dict[str, float] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def __call__(self, name: str, count: int, deadline: float = LATER) -> None:
        self.tasks[name] = asyncio.create_task(self._take(name, count, deadline))

    async def _take(self, name: str, count: int, deadline: float) -> None:
        refused = await self.bucket.take(count, deadline)
        self.turns[name] = self.clock.time - 1000.0 if refused is None else -refused


@pytest.fixture
def queue(clock: SteppedClock) -> Callable[[float], Queue]:
    return lambda rate: Queue(Bucket(rate, clock), clock)


async def test_a_second_s_worth_at_once_then_by_the_rate(queue: Callable[[float], Queue], clock: SteppedClock) -> None:
    take = queue(100)
    for name, count in (("a", 60), ("b", 40), ("c", 50), ("d", 10)):
        take(name, count)
    await clock.move(2)

    assert take.turns == pytest.approx({"a": 0, "b": 0, "c": 0.5, "d": 0.6})


async def test_more_than_a_second_s_worth_is_paid_off_by_those_behind(
    queue: Callable[[float], Queue], clock: SteppedClock
) -> None:
    take = queue(100)
    take("large", 1000)
    take("small", 1)
    await clock.move(20)

    assert take.turns == pytest.approx({"large": 0, "small": 9.01})


async def test_it_holds_no_more_than_a_second_s_worth(queue: Callable[[float], Queue], clock: SteppedClock) -> None:
    take = queue(100)
    await clock.move(3600)
    take("a", 100)
    take("b", 100)
    await clock.move(5)

    assert take.turns == pytest.approx({"a": 3600, "b": 3601})


async def test_whose_turn_would_come_too_late_is_told_when_and_takes_nothing(
    queue: Callable[[float], Queue], clock: SteppedClock
) -> None:
    take = queue(100)
    take("a", 100)
    take("late", 100, 1000.5)
    take("b", 100, 1001.5)
    await clock.move(2)

    assert take.turns == pytest.approx({"a": 0, "late": -1, "b": 1})


async def test_who_is_cancelled_gives_back(queue: Callable[[float], Queue], clock: SteppedClock) -> None:
    take = queue(100)
    take("a", 100)
    take("gone", 100)
    await settle()
    take.tasks["gone"].cancel()
    await settle()
    take("b", 100)
    await clock.move(5)

    assert take.turns == pytest.approx({"a": 0, "b": 1})


async def test_a_pause_is_for_all_and_keeps_their_order(queue: Callable[[float], Queue], clock: SteppedClock) -> None:
    take = queue(100)
    take("a", 100)
    take("b", 50)
    await clock.move(0.2)
    take.bucket.pause(10)
    take("c", 50)
    take("hasty", 1, 1005.0)
    await clock.move(20)

    assert take.turns == pytest.approx({"a": 0, "b": 10.5, "hasty": -10.81, "c": 11.0}, abs=0.01)


async def test_after_a_pause_it_is_empty(queue: Callable[[float], Queue], clock: SteppedClock) -> None:
    take = queue(100)
    take.bucket.pause(10)
    take("a", 100)
    await clock.move(20)

    assert take.turns == pytest.approx({"a": 11})


async def test_the_longest_pause_counts(queue: Callable[[float], Queue], clock: SteppedClock) -> None:
    take = queue(100)
    take.bucket.pause(10)
    take.bucket.pause(3)
    await clock.move(1)
    take.bucket.pause(12)
    take("a", 1)
    await clock.move(20)

    assert take.turns == pytest.approx({"a": 13.01})


@given(
    st.integers(1, 50),
    st.lists(st.tuples(st.floats(0, 3), st.integers(1, 120) | st.none(), st.floats(0, 3)), min_size=1, max_size=25),
)
def test_never_more_than_the_rate_and_a_second_s_worth(rate: int, steps: list[tuple[float, int | None, float]]) -> None:
    asyncio.run(_check(rate, steps))


async def _check(rate: int, steps: list[tuple[float, int | None, float]]) -> None:
    clock = SteppedClock()
    take = Queue(Bucket(rate, clock), clock)
    counts: dict[str, int] = {}
    for number, (wait, count, pause) in enumerate(steps):
        await clock.move(wait)
        if count is None:
            take.bucket.pause(pause)
        else:
            counts[f"{number}"] = count
            take(f"{number}", count)
    await clock.move(10_000)

    assert list(take.turns) == list(counts), "served in order"
    sent, first = 0, 0.0
    for name, count in counts.items():
        turn = take.turns[name]
        # Whoever takes more than a second's worth goes when the bucket is full.
        assert sent + min(count, rate) <= rate * (1 + turn - first) + 0.1 + rate * 0.002 * len(counts)
        sent += count

"""What a crash would leave in doubt is bounded, lane by lane, first come first served (P9)."""

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellhop_server.app.doubt import Doubt

pytestmark = pytest.mark.promise("P9")


class Batch:
    """One that goes on once it may, and stays until it is told to go."""

    def __init__(self, doubt: Doubt, devices: int, lane: str = "a", *, whole: bool = True) -> None:
        self.devices = devices
        self.within = False
        self._go = asyncio.Event()
        self._task = asyncio.create_task(self._work(doubt, lane, whole))

    async def _work(self, doubt: Doubt, lane: str, whole: bool) -> None:
        async with doubt.about(lane, self.devices, whole=whole) as self.resolved:
            self.within = True
            await self._go.wait()
        self.within = False

    async def end(self) -> None:
        self._go.set()
        await self._task

    async def cancel(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_no_more_than_allowed_is_at_stake_and_the_first_goes_first() -> None:
    doubt = Doubt(10)
    batches = [Batch(doubt, devices) for devices in (6, 4, 7, 1)]
    await turn()
    assert [batch.within for batch in batches] == [True, True, False, False]

    batches[1].resolved(3)
    await turn()
    # One more would fit; whoever came before it is not overtaken.
    assert [batch.within for batch in batches] == [True, True, False, False]

    await batches[0].end()
    await turn()
    assert [batch.within for batch in batches] == [False, True, True, True]
    for batch in batches[1:]:
        await batch.end()
    assert not doubt._scales


async def test_lanes_do_not_wait_for_one_another() -> None:
    doubt = Doubt(10)
    first, second = Batch(doubt, 10, "a"), Batch(doubt, 10, "b")
    await turn()
    assert first.within
    assert second.within
    await first.end()
    await second.end()


async def test_one_that_is_too_large_goes_alone() -> None:
    doubt = Doubt(10)
    large, small = Batch(doubt, 25), Batch(doubt, 1)
    await turn()
    assert large.within
    assert not small.within
    await large.end()
    await turn()
    assert small.within
    await small.end()


async def test_what_may_be_sent_again_is_not_at_stake() -> None:
    doubt = Doubt(1)
    held, free = Batch(doubt, 1), Batch(doubt, 0)
    await turn()
    assert free.within
    await free.end()
    await held.end()


async def test_results_of_a_mixed_batch_free_nothing_before_it_ends() -> None:
    """Nobody knows which of its devices they were."""
    doubt = Doubt(2)
    mixed, next_one = Batch(doubt, 2, whole=False), Batch(doubt, 1)
    await turn()
    mixed.resolved(5)
    await turn()
    assert not next_one.within
    await mixed.end()
    await turn()
    assert next_one.within
    await next_one.end()


async def test_whoever_gives_up_waiting_holds_nobody_up() -> None:
    doubt = Doubt(2)
    held, waiting, after = Batch(doubt, 2), Batch(doubt, 2), Batch(doubt, 1)
    await turn()
    await waiting.cancel()
    await held.end()
    await turn()
    assert after.within
    await after.end()
    assert not doubt._scales


@given(st.lists(st.tuples(st.integers(1, 8), st.sampled_from("ercr")), max_size=30))
def test_it_never_holds_more_and_forgets_nothing(steps: list[tuple[int, str]]) -> None:
    async def run() -> None:
        doubt = Doubt(10)
        batches: list[Batch] = []
        for number, what in steps:
            if what == "e" or not batches:
                batches.append(Batch(doubt, number))
            elif what == "c":
                await batches.pop(number % len(batches)).cancel()
            elif what == "r":
                await batches.pop(0).end() if batches[0].within else None
            await turn()
            assert sum(batch.devices for batch in batches if batch.within) <= 10
            assert not batches or any(batch.within for batch in batches)
        while batches:
            await batches.pop(0).end()
        assert not doubt._scales

    asyncio.run(run())

"""Streams over what is committed (P10): any cursor, any filter, nobody told too much or too little."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

import pytest

from bellhop_server.app.watching import HIDDEN, PAGE, QUIET, Watching
from bellhop_server.domain import SECOND
from bellhop_server.domain.batch import Recorded
from bellhop_server.domain.errors import CursorInvalid, MessageNotFound, ServiceUnavailable, StreamInterrupted
from bellhop_server.domain.event import AcceptedEvent, Event, ProgressEvent, ResultsEvent, SummaryEvent
from bellhop_server.domain.message import Message, MessageCounts, MessageState, Outcome, Result, ResultFilter
from bellhop_server.domain.query import ResultQuery
from bellhop_server.ports import Subscription
from bellhop_server.queue.local import LocalQueue, LocalSubscription
from tests.unit.app_fakes import FakeClock, message


def result(number: int, outcome: Outcome = Outcome.ACCEPTED) -> Result:
    return Result(f"d{number}", "anna", 1, outcome, "", 200, "", 1, number, 0)


class FakeResults:
    """The results of one message; `reads` tells how often the store was asked for a page."""

    def __init__(self, *results: Result) -> None:
        self.message: Message = message()
        self.results = list(results)
        self.reads = 0
        self.first = 1
        self.away = self.deleted = False

    def complete(self) -> None:
        self.message = replace(self.message, state=MessageState.COMPLETED)

    async def list_results(self, query: ResultQuery, after_seq: int, limit: int) -> list[tuple[int, Result]]:
        self.reads += 1
        if self.away:
            raise ServiceUnavailable("store")
        return list(enumerate(self.results, 1))[max(after_seq, self.first - 1) :][:limit]

    async def get_message_by_ref(self, ref: int) -> Message:
        if self.deleted:
            raise MessageNotFound("m1")
        return self.message

    async def last_seq(self, ref: int) -> int:
        return len(self.results)

    async def counts(self, refs: Sequence[int]) -> dict[int, MessageCounts]:
        size = len(self.results)
        return {} if self.deleted else {1: MessageCounts(device_count=size, finished_count=size)}


class TickingQueue(LocalQueue):
    """Its readers' silences pass at once, by the test's clock."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def subscribe(self, ref: int) -> Subscription:
        subscription = super().subscribe(ref)
        assert isinstance(subscription, LocalSubscription)
        wait = subscription.wait

        async def tick(timeout: float) -> bool:
            woken = await wait(0)
            if not woken:
                self._clock.micros += int(timeout * SECOND)
            return woken

        subscription.wait = tick  # A reader of this test alone.
        return subscription


class Reader:
    """A stream on the message of a fake store."""

    def __init__(self, store: FakeResults) -> None:
        self.clock = FakeClock()
        self.queue = TickingQueue(self.clock)
        self.store = store
        self.watching = Watching(store, self.queue, self.clock)

    def stream(self, after: int = 0, shown: ResultFilter = ResultFilter.ALL) -> AsyncGenerator[Event]:
        return self.watching.watch(self.store.message, after, shown)


async def test_everything_from_the_start_then_the_end() -> None:
    store = FakeResults(*(result(number) for number in range(1, PAGE + 3)))
    store.complete()

    events = [event async for event in Reader(store).stream()]

    assert [type(event) for event in events] == [AcceptedEvent, ResultsEvent, ResultsEvent, SummaryEvent]
    assert [event.seq for event in events] == [0, PAGE, PAGE + 2, PAGE + 2]


@pytest.mark.parametrize("after", [0, 1, 2, 3])
async def test_it_goes_on_after_any_cursor(after: int) -> None:
    store = FakeResults(result(1), result(2), result(3))
    store.complete()

    events = [event async for event in Reader(store).stream(after)]

    told = [each.device_id for event in events if isinstance(event, ResultsEvent) for each in event.results]
    assert told == ["d1", "d2", "d3"][after:]
    assert events[0].seq == after
    assert isinstance(events[-1], SummaryEvent)


async def test_a_cursor_that_the_message_has_not_come_to_is_refused() -> None:
    store = FakeResults(result(1))
    store.complete()

    with pytest.raises(CursorInvalid):
        await anext(Reader(store).stream(2))


async def test_failures_alone_keep_their_numbers() -> None:
    store = FakeResults(result(1), result(2, Outcome.TOKEN_INVALID), result(3))
    store.complete()

    events = [event async for event in Reader(store).stream(shown=ResultFilter.FAILURES)]

    assert [(each.seq, [r.device_id for r in each.results]) for each in events if isinstance(each, ResultsEvent)] == [
        (3, ["d2"])
    ]


async def test_a_quiet_stream_gives_signs_of_life() -> None:
    reader = Reader(FakeResults())
    stream = reader.stream()
    await anext(stream)

    first, second = await anext(stream), await anext(stream)

    assert isinstance(first, ProgressEvent)
    assert isinstance(second, ProgressEvent)
    assert QUIET <= 15
    assert reader.clock.micros == FakeClock().micros + int(2 * QUIET * SECOND)
    await stream.aclose()


async def test_hidden_results_move_the_numbers() -> None:
    reader = Reader(FakeResults(result(1)))
    stream = reader.stream(shown=ResultFilter.NONE)
    await anext(stream)

    progress = await anext(stream)

    assert isinstance(progress, ProgressEvent)
    assert progress.seq == 1
    assert reader.clock.micros == FakeClock().micros + int(HIDDEN * SECOND)
    await stream.aclose()


async def test_what_is_announced_is_read_from_memory() -> None:
    reader = Reader(FakeResults())
    stream = reader.stream()
    await anext(stream)
    pending = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    reads = reader.store.reads
    reader.store.results = [result(1)]
    reader.queue.announce_results(Recorded(1, 1, [result(1)], completed=False))

    event = await pending
    while not isinstance(event, ResultsEvent):
        event = await anext(stream)

    assert event.results == [result(1)]
    assert reader.store.reads <= reads + 1
    await stream.aclose()


async def test_what_nobody_announced_is_found_after_a_silence() -> None:
    reader = Reader(FakeResults(result(1)))
    stream = reader.stream()
    await anext(stream)
    assert isinstance(await anext(stream), ResultsEvent)
    reader.queue.announce_results(Recorded(1, 1, [result(1)], completed=False))
    reader.store.results.append(result(2))  # Written by another process: nothing is announced here.

    told = [event for event in [await anext(stream), await anext(stream)] if isinstance(event, ResultsEvent)]

    assert [each.results for each in told] == [[result(2)]]
    await stream.aclose()


@pytest.mark.parametrize("fault", ["away", "deleted", "closing"])
async def test_every_other_end_is_an_interruption(fault: str) -> None:
    reader = Reader(FakeResults())
    stream = reader.stream()
    await anext(stream)
    if fault == "closing":
        reader.watching.interrupt()
    else:
        setattr(reader.store, fault, True)

    with pytest.raises(StreamInterrupted):
        async for _ in stream:
            pass


async def test_an_end_that_is_announced_before_the_last_results_is_not_waited_for() -> None:
    reader = Reader(FakeResults(result(1)))
    stream = reader.stream()
    await anext(stream)
    await anext(stream)
    reader.queue.announce_results(Recorded(1, 1, [result(1)], completed=False))
    reader.store.results.append(result(2))
    reader.store.complete()
    reader.queue.announce_results(Recorded(1, 0, [], completed=True))

    rest = [event async for event in stream]

    assert [type(event) for event in rest] == [ResultsEvent, SummaryEvent]
    assert reader.clock.micros == FakeClock().micros


async def test_what_begins_late_is_not_passed_off_as_the_beginning() -> None:
    """Retention deletes a large message from its first result on."""
    reader = Reader(FakeResults(*(result(number) for number in range(1, 11))))
    reader.store.first = 4

    stream = reader.stream()
    await anext(stream)

    with pytest.raises(StreamInterrupted):
        await anext(stream)

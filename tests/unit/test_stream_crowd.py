"""Many readers of one message (P10): all are told the same, and none of them costs the others anything."""

import asyncio
import weakref
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

import pytest

from bellhop.v1.event_pb2 import SendEvent
from bellhop.v1.notifier_pb2 import WatchMessageResponse
from bellhop_server.app.watching import PAGE, Watching
from bellhop_server.domain.batch import Recorded
from bellhop_server.domain.event import Event, ResultsEvent, SummaryEvent
from bellhop_server.domain.message import Message, MessageCounts, MessageState, Outcome, Result, ResultFilter
from bellhop_server.domain.query import ResultQuery
from bellhop_server.queue.local import MAX_RECENT, LocalQueue
from bellhop_server.rpc import mapping_message
from bellhop_server.rpc.shared_pages import KEPT, SharedPages
from tests.unit.app_fakes import FakeClock, message

pytestmark = pytest.mark.promise("P10")

GROUP = 500


class Name(str):
    """Text that can be watched dying."""

    __slots__ = ("__weakref__",)


class Writing:
    """A store that makes its results up as they are read, and a queue that hears of them; both count."""

    def __init__(self) -> None:
        self.queue = LocalQueue()
        self.watching = Watching(self, self.queue, FakeClock())
        self.message: Message = message()
        # By identity: the same result, read twice, is there twice.
        self._alive: dict[int, weakref.ref[Name]] = {}
        self.written = self.reads = 0

    def result(self, number: int) -> Result:
        name = Name(f"d{number}")
        key = id(name)
        self._alive[key] = weakref.ref(name, lambda _: self._alive.pop(key))
        outcome = Outcome.ACCEPTED if number % 7 else Outcome.TOKEN_INVALID
        return Result(name, "anna", 1, outcome, "", 200, "", 1, number, 0)

    def write(self, count: int, *, completed: bool = False) -> None:
        """Commits and announces."""
        first = self.written + 1
        self.written += count
        if completed:
            self.message = replace(self.message, state=MessageState.COMPLETED)
        fresh = [self.result(number) for number in range(first, first + count)]
        self.queue.announce_results(Recorded(self.message.ref, first, fresh, completed))

    def watch(self, after: int = 0, shown: ResultFilter = ResultFilter.ALL) -> AsyncGenerator[Event]:
        return self.watching.watch(self.message, after, shown)

    def alive_now(self) -> int:
        return len(self._alive)

    async def list_results(self, query: ResultQuery, after_seq: int, limit: int) -> list[tuple[int, Result]]:
        self.reads += 1
        numbers = range(after_seq + 1, min(after_seq + limit, self.written) + 1)
        return [(number, self.result(number)) for number in numbers]

    async def last_seq(self, ref: int) -> int:
        self.reads += 1
        return self.written

    async def get_message_by_ref(self, ref: int) -> Message:
        return self.message

    async def counts(self, refs: list[int]) -> dict[int, MessageCounts]:
        return {refs[0]: MessageCounts(device_count=self.written, finished_count=self.written)}


class Reader:
    """Follows a message and notes what it is told; with `cut`, over a new stream after each event."""

    def __init__(self, writing: Writing, shown: ResultFilter, *, cut: bool = False) -> None:
        self.told: list[str] = []
        self.at = 0
        self.summary: SummaryEvent | None = None
        self._writing = writing
        self.shown = shown
        self._cut = cut

    async def run(self) -> None:
        while self.summary is None:
            stream = self._writing.watch(self.at, self.shown)
            await anext(stream)
            async for event in stream:
                self.at = event.seq
                if isinstance(event, ResultsEvent):
                    self.told += [str(each.device_id) for each in event.results]
                if isinstance(event, SummaryEvent):
                    self.summary = event
                if self._cut:
                    break
            await stream.aclose()


def expected(shown: ResultFilter, count: int) -> list[str]:
    match shown:
        case ResultFilter.ALL:
            return [f"d{number}" for number in range(1, count + 1)]
        case ResultFilter.FAILURES:
            return [f"d{number}" for number in range(7, count + 1, 7)]
        case ResultFilter.NONE:
            return []


async def until(condition: Callable[[], bool]) -> None:
    """Lets the others run until it holds."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - no event tells how far readers have come
            await asyncio.sleep(0)


async def test_a_hundred_readers_are_told_the_same() -> None:
    """Of each filter some that keep up, some that break off after each event, some that begin when all is over."""
    writing = Writing()
    steady = [Reader(writing, ResultFilter(1 + turn % 3)) for turn in range(60)]
    cut = [Reader(writing, ResultFilter(1 + turn % 3), cut=True) for turn in range(30)]
    late = [Reader(writing, ResultFilter(1 + turn % 3)) for turn in range(10)]
    stalled = [writing.watch() for _ in range(10)]
    for stream in stalled:
        await anext(stream)
    tasks = [asyncio.create_task(reader.run()) for reader in (*steady, *cut)]
    for turn in range(1, 21):
        writing.write(GROUP, completed=turn == 20)
        if turn % 2:
            await until(lambda: all(reader.at == writing.written for reader in steady[::3]))
    await asyncio.gather(*tasks, *(reader.run() for reader in late))

    for reader in (*steady, *cut, *late):
        assert reader.told == expected(reader.shown, 20 * GROUP)
        assert reader.summary == steady[0].summary
    for stream in stalled:
        rest = [event async for event in stream]
        told = [each.device_id for event in rest if isinstance(event, ResultsEvent) for each in event.results]
        assert told == expected(ResultFilter.ALL, 20 * GROUP)
        assert rest[-1] == steady[0].summary


async def test_readers_that_keep_up_never_ask_the_store_again() -> None:
    writing = Writing()
    readers = [Reader(writing, ResultFilter.ALL) for _ in range(100)]
    tasks = [asyncio.create_task(reader.run()) for reader in readers]
    await until(lambda: writing.reads == len(readers))

    for turn in range(1, 41):
        writing.write(GROUP, completed=turn == 40)
        await until(lambda: all(reader.at == writing.written for reader in readers))
    await asyncio.gather(*tasks)

    assert writing.reads == len(readers)
    assert all(reader.told == expected(ResultFilter.ALL, 40 * GROUP) for reader in readers)


async def test_a_slow_reader_costs_a_page_and_holds_up_nobody() -> None:
    """20,000 results go by while it takes nothing; then it gets them all, and still holds no more than a page."""
    writing = Writing()
    slow = writing.watch()
    await anext(slow)
    writing.write(GROUP)
    first = await anext(slow)
    assert isinstance(first, ResultsEvent)
    told = [str(each.device_id) for each in first.results]
    fast = Reader(writing, ResultFilter.ALL)
    task = asyncio.create_task(fast.run())
    most = 0
    while writing.written < 20_000:
        writing.write(GROUP, completed=writing.written + GROUP == 20_000)
        await until(lambda: fast.at == writing.written)
        fast_page = slow_page = PAGE
        assert writing.alive_now() <= min(writing.written, MAX_RECENT) + GROUP + fast_page + slow_page
        most = max(most, writing.alive_now())
    await task
    assert fast.told == expected(ResultFilter.ALL, 20_000)
    assert most <= MAX_RECENT + GROUP + 2 * PAGE
    assert writing.alive_now() <= GROUP + 2 * PAGE, "more than a page is kept for a reader that is far behind"

    async for event in slow:
        if isinstance(event, ResultsEvent):
            told += [str(each.device_id) for each in event.results]
            assert writing.alive_now() <= GROUP + 3 * PAGE
    assert told == expected(ResultFilter.ALL, 20_000)


async def test_a_reader_of_nothing_asks_for_no_pages() -> None:
    writing = Writing()
    writing.write(20_000, completed=True)
    reader = Reader(writing, ResultFilter.NONE)

    await reader.run()

    assert reader.summary is not None
    assert (reader.summary.seq, writing.reads) == (20_000, 1)


async def test_readers_at_the_same_place_share_what_is_made_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0
    send_event = mapping_message.send_event

    def counting(event: Event, cursor: str) -> SendEvent:
        nonlocal made
        made += 1
        return send_event(event, cursor)

    monkeypatch.setattr(mapping_message, "send_event", counting)
    pages, writing = SharedPages(), Writing()
    writing.write(3 * PAGE, completed=True)

    # Pages end at round numbers: whoever began in the middle of one is in step with the others from its end on.
    for after in (0, 1, 57, PAGE):
        events = [event async for event in writing.watch(after) if isinstance(event, ResultsEvent)]
        told = [pages.response(WatchMessageResponse, writing.message, ResultFilter.ALL, event) for event in events]
        assert [each.device_id for one in told for each in one.event.results.results] == (
            expected(ResultFilter.ALL, 3 * PAGE)[after:]
        )
    assert made == 3 + 2


def test_pages_of_others_are_not_mixed_up_and_few_are_kept() -> None:
    pages, writing = SharedPages(), Writing()
    first, second = writing.message, replace(writing.message, ref=writing.message.ref + 1, message_id="m2")
    results = [writing.result(number) for number in (6, 7)]

    def told(message: Message, shown: ResultFilter, results: list[Result], seq: int = 7) -> list[str]:
        response = pages.response(WatchMessageResponse, message, shown, ResultsEvent(seq, results))
        return [response.event.cursor, *(each.device_id for each in response.event.results.results)]

    assert told(first, ResultFilter.ALL, results)[1:] == ["d6", "d7"]
    assert told(first, ResultFilter.ALL, results[1:])[1:] == ["d7"]
    assert told(first, ResultFilter.FAILURES, results[1:])[1:] == ["d7"]
    assert told(second, ResultFilter.ALL, results)[0] != told(first, ResultFilter.ALL, results)[0]
    for seq in range(8, 8 + 3 * KEPT):
        told(first, ResultFilter.ALL, results[:1], seq)
    assert len(pages._kept) == KEPT

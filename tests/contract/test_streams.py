"""Streams over a real store (P10): cut anywhere and gone on with, also while results are still being written."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import pytest

from bellhop_server.app.watching import Watching
from bellhop_server.clock import SystemClock
from bellhop_server.domain import DAY, SECOND
from bellhop_server.domain.batch import ClaimedBatch, NewBatch
from bellhop_server.domain.errors import MessageNotFound, ServiceUnavailable, StreamInterrupted
from bellhop_server.domain.event import AcceptedEvent, Event, ProgressEvent, ResultsEvent, SummaryEvent
from bellhop_server.domain.message import Message, Outcome, Result, ResultFilter
from bellhop_server.domain.planning import AudiencePage
from bellhop_server.domain.query import ResultQuery
from bellhop_server.queue.local import LocalQueue
from bellhop_server.rpc.mapping_message import send_event
from bellhop_server.store.retention import MESSAGE_LIFE
from bellhop_server.store.seal import MasterKey
from bellhop_server.store.sql_store import SqlStore
from tests.contract.messaging import NOW, accepted, claimed, items, missing, planned, report, result, results_of

pytestmark = pytest.mark.promise("P10")

FILTERS = list(ResultFilter)


@dataclass
class Told:
    """What a reader was told over one or two streams."""

    results: list[tuple[str, Outcome]]
    seq: int = 0
    end: Event | None = None

    def take(self, event: Event) -> None:
        assert event.seq >= self.seq, "a cursor went back"
        self.seq = event.seq
        match event:
            case ResultsEvent(_, results):
                self.results += [(each.device_id, each.outcome) for each in results]
            case SummaryEvent():
                self.end = event


async def follow(watching: Watching, message: Message, told: Told, shown: ResultFilter, most: int = 10_000) -> None:
    """Reads up to so many events of a stream from where the last one ended."""
    stream = watching.watch(message, told.seq, shown)
    first = await anext(stream)
    assert isinstance(first, AcceptedEvent)
    assert first.seq == told.seq
    told.end = None
    while most > 0 and told.end is None:
        told.take(await anext(stream))
        most -= 1
    if told.end is not None:
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
    await stream.aclose()


def through(shown: ResultFilter, results: list[tuple[int, Result]]) -> list[tuple[str, Outcome]]:
    """What passes a filter."""
    assert shown in FILTERS
    kept = [] if shown is ResultFilter.NONE else [each for _, each in results]
    return [
        (each.device_id, each.outcome)
        for each in kept
        if shown is ResultFilter.ALL or each.outcome is not Outcome.ACCEPTED
    ]


OUTCOMES = (Outcome.ACCEPTED, Outcome.TOKEN_INVALID, Outcome.ACCEPTED, Outcome.UNKNOWN)


async def write(store: SqlStore, queue: LocalQueue, batch: ClaimedBatch, *, silent: bool) -> None:
    """Records a batch, a result at a time; what is `silent` is not announced, as if another process wrote it."""
    for at, item in enumerate(batch.items):
        done = at + 1 == len(batch.items)
        reported = report(batch, result(item.device_id, OUTCOMES[at % len(OUTCOMES)]), done=done)
        [recorded] = await store.record([reported], NOW)
        if not silent or recorded.completed:
            queue.announce_results(recorded)
        await asyncio.sleep(0)


async def planned_rest(store: SqlStore, message: Message, names: list[list[str]]) -> None:
    """The last page of a plan whose first one ended at "next"."""
    new = [NewBatch(items(*each), NOW, message.options.priority) for each in names]
    page = AudiencePage([item for batch in new for item in batch.items], [], None)
    await store.add_plan(message.ref, "next", page, new, NOW)


async def test_cut_after_every_event_and_gone_on_with_while_results_are_written(
    store: SqlStore, other_store: SqlStore
) -> None:
    """Each cut point under each pair of filters, each of them a reader of its own; three write at the same time."""
    message = await accepted(store)
    page = AudiencePage([], [missing("gone1"), missing("gone2")], "next")
    queue = LocalQueue()
    watching = Watching(store, queue, SystemClock())
    await store.add_plan(message.ref, "", page, [], NOW)
    names = [[f"{batch}-{number}" for number in range(8)] for batch in range(3)]
    await planned_rest(store, message, names)
    batches = await claimed(store)
    total = 2 + 24

    async def reader(cut_after: int, before: ResultFilter, after: ResultFilter) -> tuple[Told, int]:
        told = Told([])
        await follow(watching, message, told, before, cut_after)
        cut_at = told.seq
        await follow(watching, message, told, after)
        return told, cut_at

    async def cut_after_each(shown: ResultFilter) -> Told:
        told = Told([])
        while told.end is None:
            await follow(watching, message, told, shown, 1)
        return told

    whole = Told([])
    uncut = asyncio.create_task(follow(watching, message, whole, ResultFilter.ALL))
    pairs = [(cut, before, after) for cut in range(total + 2) for before in FILTERS for after in FILTERS]
    readers = [asyncio.create_task(reader(*pair)) for pair in pairs]
    choppy = [asyncio.create_task(cut_after_each(shown)) for shown in FILTERS]
    writers = ((store, False), (other_store, False), (other_store, True))
    await asyncio.gather(
        *(write(each, queue, batch, silent=silent) for (each, silent), batch in zip(writers, batches, strict=True))
    )
    await uncut

    kept = await results_of(store, message)
    assert [seq for seq, _ in kept] == list(range(1, total + 1))
    assert whole.results == through(ResultFilter.ALL, kept)
    for (_, before, after), (told, cut_at) in zip(pairs, await asyncio.gather(*readers), strict=True):
        assert told.results == through(before, kept[:cut_at]) + through(after, kept[cut_at:])
        assert told.end == whole.end
    for shown, told in zip(FILTERS, await asyncio.gather(*choppy), strict=True):
        assert told.results == through(shown, kept)
        assert told.end == whole.end
    # And once more, when all has been over for long: from every number there is.
    for seq in range(total + 1):
        for shown in FILTERS:
            told = Told([], seq)
            await follow(watching, message, told, shown)
            assert (told.results, told.end) == (through(shown, kept[seq:]), whole.end)


async def test_numbers_follow_commits_and_not_the_order_in_which_they_were_asked_for(
    postgresql_url: str, store_on_postgresql: SqlStore, other_store_on_postgresql: SqlStore
) -> None:
    """One recorder is held up after its results have their numbers and before they are committed; what another one
    records meanwhile must not be read before them.
    """
    store, other = store_on_postgresql, other_store_on_postgresql
    message = await accepted(store)
    await planned(store, message, ["a1", "a2"], ["b1", "b2"])
    first, second = await claimed(store)
    await store.record([report(first, result("a1"))], NOW)
    watching = Watching(store, LocalQueue(), SystemClock())
    seen: list[int] = []

    async def look() -> None:
        for number, _ in await store.list_results(ResultQuery(message.ref), seen[-1] if seen else 0, 10):
            seen.append(number)

    async with locked(postgresql_url, f"SELECT * FROM outcome_counts WHERE message_ref = {message.ref} FOR UPDATE"):
        slow = asyncio.create_task(store.record([report(first, result("a2"), done=True)], NOW))
        await waiting_for_locks(postgresql_url, 1)
        quick_one = result("b1", Outcome.TOKEN_INVALID)
        quick = asyncio.create_task(other.record([report(second, quick_one)], NOW))
        waiting = asyncio.create_task(waiting_for_locks(postgresql_url, 2))
        await asyncio.wait((quick, waiting), return_when=asyncio.FIRST_COMPLETED)
        await look()
        waiting.cancel()
    await asyncio.gather(slow, quick)
    await look()
    await other.record([report(second, result("b2"), done=True)], NOW)
    await look()

    assert seen == [1, 2, 3, 4], "a reader that followed by its cursor missed results"
    told = Told([])
    await follow(watching, message, told, ResultFilter.ALL)
    assert sorted(name for name, _ in told.results) == ["a1", "a2", "b1", "b2"]


async def test_readers_follow_four_recorders_over_one_database(store: SqlStore, other_store: SqlStore) -> None:
    """What is told is what is kept, whoever announces, and in whatever order the announcements come."""
    message = await accepted(store)
    await planned(store, message, *([f"{batch}-{number}" for number in range(25)] for batch in range(8)))
    queue = LocalQueue()
    watching = Watching(store, queue, SystemClock())
    told = [Told([]) for _ in range(6)]
    readers = [
        asyncio.create_task(follow(watching, message, each, FILTERS[turn % 3])) for turn, each in enumerate(told)
    ]
    stores = (store, other_store) * 4
    batches = await claimed(store)
    await asyncio.gather(
        *(
            write(each, queue, batch, silent=turn == 0)
            for turn, (each, batch) in enumerate(zip(stores, batches, strict=True))
        )
    )
    await asyncio.gather(*readers)

    kept = await results_of(store, message)
    assert [seq for seq, _ in kept] == list(range(1, 201))
    for turn, each in enumerate(told):
        assert each.results == through(FILTERS[turn % 3], kept)
        assert each.end == told[0].end


async def test_a_quiet_stream_tells_when_the_next_attempt_is_due(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = await accepted(store)
    await planned(store, message, ["d1"])
    [batch] = await claimed(store)
    again = NewBatch(batch.items, NOW + 60 * SECOND, message.options.priority, retry=True)
    await store.record([report(batch, done=True, again=(again,))], NOW)
    monkeypatch.setattr("bellhop_server.app.watching.QUIET", 0.0)
    stream = Watching(store, LocalQueue(), SystemClock()).watch(message, 0, ResultFilter.ALL)
    await anext(stream)

    event = await anext(stream)

    assert isinstance(event, ProgressEvent)
    told = send_event(event, "").progress
    assert told.next_attempt_time.ToMicroseconds() == NOW + 60 * SECOND
    assert told.counts.retrying_count == 1
    await stream.aclose()


async def test_a_message_that_retention_deletes_ends_its_streams(store: SqlStore) -> None:
    """A large message goes in slices, from its first result on. No stream passes the rest off as the whole."""
    message = await accepted(store)
    await planned(store, message, [f"d{number}" for number in range(500)])
    [batch] = await claimed(store)
    await store.record([report(batch, *(result(item.device_id) for item in batch.items), done=True)], NOW)
    watching = Watching(store, LocalQueue(), SystemClock())
    streams = [watching.watch(message, 0, ResultFilter.ALL) for _ in range(2)]
    for stream in streams:
        await anext(stream)
    read = await anext(streams[0])
    assert isinstance(read, ResultsEvent)

    assert await store.sweep(NOW + MESSAGE_LIFE + DAY, 300)

    assert await store.list_results(ResultQuery(message.ref), 0, 10), "nothing was left to pass off"
    for stream in (*streams, watching.watch(message, 0, ResultFilter.ALL)):
        with pytest.raises(StreamInterrupted):
            async for event in stream:
                assert isinstance(event, AcceptedEvent)
    while await store.sweep(NOW + MESSAGE_LIFE + DAY, 300):
        pass
    with pytest.raises(StreamInterrupted):
        async for event in watching.watch(message, 0, ResultFilter.ALL):
            assert isinstance(event, AcceptedEvent)
    with pytest.raises(MessageNotFound):
        await store.get_message(message.app_id, message.message_id)


async def test_a_stream_ends_while_the_store_is_away_and_goes_on_when_it_is_back(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = await accepted(store)
    await planned(store, message, [f"d{number}" for number in range(500)])
    [batch] = await claimed(store)
    await store.record([report(batch, *(result(item.device_id) for item in batch.items), done=True)], NOW)
    watching = Watching(store, LocalQueue(), SystemClock())
    told = Told([])
    stream = watching.watch(message, 0, ResultFilter.ALL)
    await anext(stream)
    told.take(await anext(stream))

    async def away(*_: object) -> None:
        raise ServiceUnavailable("store")

    with monkeypatch.context() as patch:
        patch.setattr(store, "list_results", away)
        with pytest.raises(StreamInterrupted):
            await anext(stream)
    await follow(watching, message, told, ResultFilter.ALL)

    assert told.results == through(ResultFilter.ALL, await results_of(store, message))
    assert told.end is not None


@asynccontextmanager
async def locked(url: str, query: str) -> AsyncIterator[None]:
    """Another transaction holds the rows of a query, which are there."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            assert await connection.fetch(query)
            yield
    finally:
        await connection.close()


async def waiting_for_locks(url: str, count: int) -> None:
    """Returns once so many transactions wait for others."""
    connection = await asyncpg.connect(url)
    try:
        query = "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted"
        async with asyncio.timeout(30):
            while await connection.fetchval(query) < count:
                pass
    finally:
        await connection.close()


@pytest.fixture
async def store_on_postgresql(postgresql_url: str) -> AsyncIterator[SqlStore]:
    """A store of a process."""
    async with SqlStore.open(postgresql_url, MasterKey(bytes(32))) as store:
        yield store


@pytest.fixture
async def other_store_on_postgresql(postgresql_url: str) -> AsyncIterator[SqlStore]:
    """Another process's store over the same database."""
    async with SqlStore.open(postgresql_url, MasterKey(bytes(32))) as store:
        yield store

"""Streams over a real store (P10): cut anywhere and gone on with, also while results are still being written."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from bellhop_server.app.watching import Watching
from bellhop_server.clock import SystemClock
from bellhop_server.domain import DAY, SECOND
from bellhop_server.domain.batch import NewBatch
from bellhop_server.domain.errors import MessageNotFound, ServiceUnavailable, StreamInterrupted
from bellhop_server.domain.event import AcceptedEvent, Event, ProgressEvent, ResultsEvent
from bellhop_server.domain.message import Message, ResultFilter
from bellhop_server.domain.planning import AudiencePage
from bellhop_server.domain.query import ResultQuery
from bellhop_server.queue.local import LocalQueue
from bellhop_server.rpc.mapping_message import send_event
from bellhop_server.store.retention import MESSAGE_LIFE
from bellhop_server.store.sql_store import SqlStore
from tests.contract.messaging import NOW, accepted, claimed, items, missing, planned, report, result, results_of
from tests.contract.stream_reader import FILTERS, Told, follow, through, write

pytestmark = pytest.mark.promise("P10")


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
    assert [await until_cut(stream) for stream in streams] == [[], []]
    assert [type(event) for event in await until_cut(watching.watch(message, 0, ResultFilter.ALL))] == [AcceptedEvent]
    while await store.sweep(NOW + MESSAGE_LIFE + DAY, 300):
        pass
    assert [type(event) for event in await until_cut(watching.watch(message, 0, ResultFilter.ALL))] == [AcceptedEvent]
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


async def until_cut(stream: AsyncGenerator[Event]) -> list[Event]:
    """What comes of a stream until it is interrupted."""
    events: list[Event] = []
    with pytest.raises(StreamInterrupted):  # noqa: PT012 - reading is what raises it
        async for event in stream:
            events.append(event)
    return events

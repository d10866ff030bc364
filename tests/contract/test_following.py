"""Many messages followed at once over a real store (P10): each is told as on a stream of its own, whoever writes."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator

import pytest

from bellhop_server.app.following import HIDDEN, QUIET, Following
from bellhop_server.app.watching import Watching
from bellhop_server.domain import SECOND
from bellhop_server.domain.acceptance import Accepted
from bellhop_server.domain.batch import ClaimedBatch, NewBatch, Recorded
from bellhop_server.domain.errors import ServiceUnavailable, StreamInterrupted
from bellhop_server.domain.event import Event, ProgressEvent, ResultsEvent, SummaryEvent
from bellhop_server.domain.message import Message, MessageState, Outcome, Result, ResultFilter
from bellhop_server.domain.planning import AudiencePage
from bellhop_server.domain.query import ResultQuery
from bellhop_server.queue.local import MAX_RECENT, LocalGathering, LocalQueue
from bellhop_server.store.retention import MESSAGE_LIFE
from bellhop_server.store.sql_store import SqlStore
from tests.contract.messaging import NOW, accepted, claimed, items, missing, planned, report, result, results_of

pytestmark = pytest.mark.promise("P10")


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> int:
        return NOW + int(self.seconds * SECOND)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class Reader:
    """Reads what a following tells: `events` by the key of their message."""

    def __init__(self, store: SqlStore) -> None:
        self.queue = LocalQueue()
        self.clock = Clock()
        self.watching = Watching(store, self.queue, self.clock)
        self.store = store
        self.events: dict[str, list[Event]] = defaultdict(list)
        self.following: Following

    def follow(
        self, message: Message, shows: ResultFilter = ResultFilter.ALL, *, key: str = "", replayed: bool = False
    ) -> None:
        if not replayed:
            self.following.expect(message.ref)
        self.following.follow(key or message.message_id, Accepted(message, replayed=replayed), shows)

    async def read(self, most: int = 500) -> int:
        """All that is there to be told by now, a few at a time; how many events that was."""
        count = 0
        while told := await self.following.tell(most):
            assert len(told) <= most
            for followed, event in told:
                self.events[followed.key].append(event)
            count += len(told)
        return count

    async def write(self, batch: ClaimedBatch, *results: Result, done: bool = True) -> Recorded:
        """Commits results and announces them."""
        [recorded] = await self.store.record([report(batch, *results, done=done)], NOW)
        self.queue.announce_results(recorded)
        return recorded

    def results(self, key: str) -> list[Result]:
        return [each for event in self.events[key] if isinstance(event, ResultsEvent) for each in event.results]

    def ended(self, key: str) -> bool:
        return isinstance(self.events[key][-1], SummaryEvent) if self.events[key] else False


@pytest.fixture
async def reader(store: SqlStore) -> AsyncIterator[Reader]:
    reader = Reader(store)
    with reader.watching.following() as following:
        reader.following = following
        yield reader


async def sending(store: SqlStore, message_id: str, *device_ids: str) -> tuple[Message, ClaimedBatch]:
    """A message that is on its way to these devices, in one batch."""
    message = await accepted(store, message_id)
    await planned(store, message, device_ids)
    [batch] = [each for each in await claimed(store, "w-" + message_id) if each.message_ref == message.ref]
    return message, batch


async def test_results_come_from_memory(store: SqlStore, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = []
    for number in range(30):
        message, batch = await sending(store, f"m{number}", f"d{number}")
        reader.follow(message)
        batches.append(batch)
    assert await reader.read() == 0
    for batch in batches:
        await reader.write(batch, result(batch.items[0].device_id))
    asked: list[object] = []
    real = store.list_results

    async def counting(query: ResultQuery, after_seq: int, limit: int) -> list[tuple[int, Result]]:
        asked.append(query)
        return await real(query, after_seq, limit)

    monkeypatch.setattr(store, "list_results", counting)
    assert await reader.read() == 60

    assert not asked
    for number in range(30):
        assert reader.results(f"m{number}") == [result(f"d{number}")]
        [_, summary] = reader.events[f"m{number}"]
        assert isinstance(summary, SummaryEvent)
        assert summary.message.state is MessageState.COMPLETED
        assert summary.message.complete_time == NOW
        assert summary.counts == (await store.counts([summary.message.ref]))[summary.message.ref]
    assert not reader.queue._gatherings


@pytest.mark.parametrize("shows", ResultFilter)
async def test_what_was_written_before_is_read_from_the_store(
    store: SqlStore, reader: Reader, shows: ResultFilter
) -> None:
    names = [f"d{number:04}" for number in range(450)]
    message = await accepted(store)
    page = AudiencePage(items(*names), [missing("gone")], None)
    await store.add_plan(message.ref, "", page, [NewBatch(items(*names), NOW, 2)], NOW)
    [batch] = await claimed(store)
    half = [result(name, Outcome.EXPIRED if name < "d0100" else Outcome.ACCEPTED) for name in names]
    await store.record([report(batch, *half[:225])], NOW)
    reader.follow(message, shows, replayed=True)
    await reader.read()
    await reader.write(batch, *half[225:])
    await reader.read(2)

    everything = [each for _, each in await results_of(store, message)]
    wanted = {
        ResultFilter.ALL: everything,
        ResultFilter.FAILURES: [each for each in everything if each.outcome is not Outcome.ACCEPTED],
        ResultFilter.NONE: [],
    }
    assert reader.results("m1") == wanted[shows]
    assert reader.ended("m1")
    assert reader.events["m1"][-1].seq == 451
    assert all(len(each.results) <= 200 for each in reader.events["m1"] if isinstance(each, ResultsEvent))


async def test_a_slow_reader_is_served_from_the_store_and_keeps_little(store: SqlStore, reader: Reader) -> None:
    names = [[f"{batch}-{number:04}" for number in range(500)] for batch in range(12)]
    other, one = await sending(store, "m2", "x")
    message = await accepted(store)
    await planned(store, message, *names)
    reader.follow(message)
    reader.follow(other)
    for batch in sorted(await claimed(store), key=lambda each: each.batch_id):
        await reader.write(batch, *(result(each.device_id) for each in batch.items))
    await reader.write(one, result("x"))
    gathering = reader.following._gathering
    assert isinstance(gathering, LocalGathering)
    kept = [recorded for news in gathering._news.values() for recorded in news or ()]
    assert sum(len(recorded.results) for recorded in kept) <= MAX_RECENT
    assert len(await results_of(store, message)) == 6000

    await reader.read()

    assert reader.results("m1") == [each for _, each in await results_of(store, message)]
    assert reader.results("m2") == [result("x")]
    assert reader.ended("m1")
    assert reader.ended("m2")


async def test_announced_out_of_order_it_is_told_in_order(store: SqlStore, reader: Reader) -> None:
    message, batch = await sending(store, "m1", "a", "b", "c")
    reader.follow(message)
    recorded = [
        (await store.record([report(batch, result(name), done=name == "c")], NOW))[0] for name in ("a", "b", "c")
    ]
    reader.queue.announce_results(recorded[1])
    await reader.read()
    reader.queue.announce_results(recorded[0])
    reader.queue.announce_results(recorded[2])
    await reader.read()

    assert [each.device_id for each in reader.results("m1")] == ["a", "b", "c"]
    assert reader.ended("m1")


async def test_announced_again_it_is_told_once(store: SqlStore, reader: Reader) -> None:
    message, batch = await sending(store, "m1", "a", "b")
    reader.follow(message)
    first = await reader.write(batch, result("a"), done=False)
    reader.queue.announce_results(first)
    await reader.read()
    reader.queue.announce_results(first)
    await reader.write(batch, result("b"))
    reader.queue.announce_results(first)
    await reader.read()

    assert [each.device_id for each in reader.results("m1")] == ["a", "b"]
    assert reader.ended("m1")


async def test_what_is_announced_between_the_commit_and_the_following_is_not_lost(
    store: SqlStore, reader: Reader
) -> None:
    message, batch = await sending(store, "m1", "a", "b")
    left, other = await sending(store, "m2", "x")
    for ref in (message.ref, left.ref):
        reader.following.expect(ref)
    await reader.write(batch, result("a"), done=False)
    await reader.write(other, result("x"))
    assert await reader.read() == 0
    await reader.write(batch, result("b"))
    reader.follow(message)
    reader.following.leave(left.ref)
    await reader.read()

    assert [each.device_id for each in reader.results("m1")] == ["a", "b"]
    assert reader.ended("m1")
    assert "m2" not in reader.events
    assert not reader.queue._gatherings


async def test_what_nobody_announces_is_found_after_a_silence(
    store: SqlStore, other_store: SqlStore, reader: Reader
) -> None:
    message, batch = await sending(store, "m1", "a")
    idle, _ = await sending(store, "m2", "b")
    reader.follow(message)
    reader.follow(idle)
    await other_store.record([report(batch, result("a"), done=True)], NOW)
    reader.clock.seconds += QUIET - 1
    assert await reader.read() == 0
    reader.clock.seconds += 1
    await reader.read()

    assert reader.results("m1") == [result("a")]
    assert reader.ended("m1")
    [progress] = reader.events["m2"]
    assert isinstance(progress, ProgressEvent)
    assert (progress.counts.device_count, progress.counts.finished_count) == (1, 0)
    reader.clock.seconds += QUIET - 1
    assert await reader.read() == 0
    reader.clock.seconds += 1
    assert await reader.read() == 1


async def test_who_hides_results_sees_the_numbers_move(store: SqlStore, reader: Reader) -> None:
    message, batch = await sending(store, "m1", "a", "b")
    reader.follow(message, ResultFilter.NONE)
    await reader.write(batch, result("a"), done=False)
    assert await reader.read() == 0
    reader.clock.seconds += HIDDEN
    await reader.read()

    [progress] = reader.events["m1"]
    assert isinstance(progress, ProgressEvent)
    assert (progress.seq, progress.counts.finished_count) == (1, 1)
    await reader.write(batch, result("b"))
    await reader.read()
    assert reader.ended("m1")


async def test_two_names_of_one_message_are_told_alike(store: SqlStore, reader: Reader) -> None:
    message, batch = await sending(store, "m1", "a")
    reader.follow(message, key="one")
    reader.follow(message, key="two", replayed=True)
    await reader.read()
    await reader.write(batch, result("a"))
    await reader.read()

    assert reader.events["one"] == reader.events["two"]
    assert reader.ended("one")
    assert not reader.queue._gatherings


async def test_a_cancelled_message_ends(store: SqlStore, reader: Reader) -> None:
    message = await accepted(store, "m1")
    reader.follow(message)
    assert await reader.read() == 0
    reader.queue.announce_results(await store.cancel("shop", "m1", NOW + 5))
    await reader.read()

    [summary] = reader.events["m1"]
    assert isinstance(summary, SummaryEvent)
    assert (summary.message.state, summary.message.complete_time) == (MessageState.CANCELLED, NOW + 5)


async def test_what_is_deleted_ends_the_stream(store: SqlStore, reader: Reader) -> None:
    message, batch = await sending(store, "m1", "a")
    await store.record([report(batch, result("a"), done=True)], NOW)
    reader.follow(message)
    while await store.sweep(NOW + 2 * MESSAGE_LIFE, 1000):
        pass
    reader.clock.seconds += QUIET
    with pytest.raises(StreamInterrupted):
        await reader.read()


async def test_results_that_are_gone_do_not_keep_it_busy(
    store: SqlStore, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a message whose results retention has deleted already, and itself not yet."""
    message, batch = await sending(store, "m1", "a")
    await store.record([report(batch, result("a"), done=True)], NOW)
    monkeypatch.setattr(store, "list_results", nothing)
    reader.follow(message, replayed=True)

    assert await reader.read() == 0
    reader.clock.seconds += QUIET
    assert await reader.read() == 1


async def nothing(*_: object) -> list[tuple[int, Result]]:
    return []


async def test_it_ends_with_the_server_and_with_the_store(
    store: SqlStore, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    message, batch = await sending(store, "m1", "a")
    reader.follow(message)

    async def away(*_: object) -> None:
        raise ServiceUnavailable("store")

    with monkeypatch.context() as patch:
        patch.setattr(store, "endings", away)
        await reader.write(batch, result("a"))
        with pytest.raises(StreamInterrupted):
            await reader.read()
    waiting = asyncio.create_task(reader.following.wait())
    reader.watching.interrupt()
    await waiting
    with pytest.raises(StreamInterrupted):
        await reader.read()

"""Cancelling on both databases: nothing more is planned, nothing waits, and the last result is the end."""

import asyncio
from dataclasses import replace

import pytest

from bellhop_server.domain import DAY, HOUR
from bellhop_server.domain.batch import NewBatch, Recorded
from bellhop_server.domain.errors import ConcurrentChange, MessageNotFound
from bellhop_server.domain.message import Message, MessageCounts, MessageState, Outcome
from bellhop_server.domain.notification import Priority
from bellhop_server.domain.planning import AudiencePage
from bellhop_server.store.results import REQUEST_ID_LIFE
from bellhop_server.store.sql_store import SqlStore
from tests.contract.backstage import Backstage
from tests.contract.messaging import (
    APP,
    NOW,
    accepted,
    claimed,
    completed,
    items,
    missing,
    planned,
    report,
    result,
    results_of,
    send,
)

LATER = NOW + 5


def again(*device_ids: str, turn: int = NOW + DAY) -> NewBatch:
    return NewBatch(items(*device_ids), turn, Priority.NORMAL, retry=True)


def batches_of(backstage: Backstage) -> list[tuple[int, int]]:
    """(retry, turn) of all batches."""
    return [(int(retry), turn) for retry, turn in backstage.execute("SELECT retry, turn FROM batches")]


async def test_what_has_not_been_planned_is_over_at_once(store: SqlStore, backstage: Backstage) -> None:
    message = await accepted(store, request_id="r1")
    assert await store.cancel(APP, "m1", LATER) == Recorded(message.ref, 0, [], completed=True)
    assert await store.get_message(APP, "m1") == replace(message, state=MessageState.CANCELLED, complete_time=LATER)
    assert await store.counts([message.ref]) == {message.ref: MessageCounts(planned=True)}
    assert await store.unplanned(9) == []
    with pytest.raises(ConcurrentChange):
        await store.add_plan(message.ref, "", AudiencePage([], [missing("x")], None), [], LATER)
    forgotten = backstage.execute("SELECT forget_time FROM request_ids WHERE request_id = 'r1'")
    assert forgotten == [(LATER + REQUEST_ID_LIFE,)]


async def test_what_is_scheduled_never_fires(store: SqlStore) -> None:
    message = (await store.accept(send("r1", schedule_time=NOW + HOUR), "mark", "m1", NOW)).message
    assert (await store.cancel(APP, "m1", LATER)).completed
    assert (await store.get_message(APP, "m1")).state is MessageState.CANCELLED
    assert await store.until_fire(NOW + DAY) is None
    assert await store.fire(NOW + DAY, 9) == 0
    assert await store.unplanned(9) == []
    assert await store.list_messages(APP, (MessageState.SCHEDULED,), None, None, None, 9) == []
    again = await store.accept(send("r1", schedule_time=NOW + HOUR), "mark", "m2", LATER)
    assert (again.replayed, again.message.ref, again.message.state) == (True, message.ref, MessageState.CANCELLED)


async def test_what_is_planned_in_part_ends_with_the_last_result(store: SqlStore) -> None:
    message = await accepted(store)
    page = AudiencePage(items("d1", "d2"), [missing("x")], "d2")
    await store.add_plan(message.ref, "", page, [NewBatch(items("d1", "d2"), NOW, Priority.NORMAL)], NOW)
    assert not (await store.cancel(APP, "m1", LATER)).completed
    assert (await store.get_message(APP, "m1")).state is MessageState.SENDING
    with pytest.raises(ConcurrentChange):
        await store.add_plan(message.ref, "d2", AudiencePage(items("d3"), [], None), [], LATER)
    [batch] = await claimed(store)
    assert (await store.read_present(APP, message.ref, ["d1"])).cancelled
    [first] = await store.record([report(batch, result("d1", Outcome.CANCELLED))], LATER + 1)
    assert not first.completed
    [last] = await store.record([report(batch, result("d2"), done=True)], LATER + 2)
    assert last.completed
    ended = await store.get_message(APP, "m1")
    assert (ended.state, ended.complete_time) == (MessageState.CANCELLED, LATER + 2)
    counts = (await store.counts([message.ref]))[message.ref]
    assert (counts.device_count, counts.planned, counts.finished_count, counts.not_registered_count) == (2, True, 2, 1)


async def test_a_message_all_of_whose_devices_are_done_is_over_at_once(store: SqlStore) -> None:
    """More would have been planned; of what was, everything has its result."""
    message = await accepted(store)
    page = AudiencePage(items("d1"), [], "d1")
    await store.add_plan(message.ref, "", page, [NewBatch(items("d1"), NOW, Priority.NORMAL)], NOW)
    [batch] = await claimed(store)
    await store.record([report(batch, result("d1"), done=True)], NOW)
    assert (await store.cancel(APP, "m1", LATER)).completed
    assert (await store.get_message(APP, "m1")).complete_time == LATER


async def test_what_waits_for_another_attempt_waits_no_longer(store: SqlStore, backstage: Backstage) -> None:
    message = await accepted(store)
    other = await accepted(store, "m2")
    await planned(store, message, ["d1", "d2"], ["d3"])
    await planned(store, other, ["e1"])
    one, two, three = await claimed(store)
    await store.record(
        [
            report(one, done=True, again=(again("d1"), again("d2", turn=NOW + 2 * DAY))),
            report(three, done=True, again=(again("e1"),)),
        ],
        NOW,
    )
    assert await claimed(store) == []
    await store.cancel(APP, "m1", LATER)
    assert (await store.counts([message.ref]))[message.ref].retrying_count == 0
    assert [batch.items for batch in await claimed(store)] == [items("d1"), items("d2")]
    # What had been claimed says when it ends that it will try again: it need not wait either.
    await store.record([report(two, done=True, again=(again("d3"),))], LATER)
    [last] = await claimed(store)
    assert last.items == items("d3")
    assert sorted(turn for _, turn in batches_of(backstage)) == [0, 0, 0, NOW + DAY]


async def test_a_second_cancel_and_one_that_comes_too_late_change_nothing(store: SqlStore) -> None:
    ended = await completed(store, "m2")
    running = await accepted(store, "m1")
    await planned(store, running, ["d1"])
    for _ in range(2):
        for message_id, message in (("m1", running), ("m2", ended)):
            assert await store.cancel(APP, message_id, LATER) == Recorded(message.ref, 0, [], completed=False)
        assert (await store.get_message(APP, "m1")).state is MessageState.SENDING
        assert (await store.get_message(APP, "m2")).state is MessageState.COMPLETED
    assert (await store.get_message(APP, "m2")).complete_time == NOW
    [batch] = await claimed(store)
    await store.record([report(batch, result("d1"), done=True)], LATER)
    before = await store.get_message(APP, "m1")
    assert before.state is MessageState.CANCELLED
    assert await store.cancel(APP, "m1", LATER + DAY) == Recorded(running.ref, 0, [], completed=False)
    assert await store.get_message(APP, "m1") == before


async def test_unknown_messages_and_those_of_others_are_not_found(store: SqlStore) -> None:
    message = await accepted(store)
    for app_id, message_id in ((APP, "m2"), ("other", "m1")):
        with pytest.raises(MessageNotFound):
            await store.cancel(app_id, message_id, LATER)
    assert await store.get_message(APP, "m1") == message
    assert not (await store.read_present(APP, message.ref, [])).cancelled


async def started(store: SqlStore, number: int) -> Message:
    message = await accepted(store, f"m{number}")
    await planned(store, message, ["d1", "d2"])
    return message


@pytest.mark.promise("P7")
async def test_cancel_and_the_last_result_at_once(store: SqlStore, other_store: SqlStore) -> None:
    """Whichever comes first, the message has one end, told once, and its results add up."""
    for number in range(20):
        message = await started(store, number)
        [batch] = await claimed(store)
        last = report(batch, result("d1"), result("d2"), done=True)
        cancelled, [recorded] = await asyncio.gather(
            other_store.cancel(APP, f"m{number}", LATER), store.record([last], LATER)
        )
        assert recorded.completed
        assert not cancelled.completed
        ended = await store.get_message_by_ref(message.ref)
        assert ended.state in (MessageState.COMPLETED, MessageState.CANCELLED)
        assert ended.complete_time == LATER
        assert len(await results_of(store, message)) == 2


async def test_cancel_and_another_attempt_at_once(store: SqlStore, other_store: SqlStore, backstage: Backstage) -> None:
    """A follow-up that is written just before or just after never waits for its time."""
    for number in range(20):
        await started(store, number)
        [batch] = await claimed(store)
        await asyncio.gather(
            other_store.cancel(APP, f"m{number}", LATER),
            store.record([report(batch, result("d1"), done=True, again=(again("d2"),))], LATER),
        )
        assert batches_of(backstage) == [(0, 0)]
        [rest] = await claimed(store)
        [recorded] = await store.record([report(rest, result("d2", Outcome.CANCELLED), done=True)], LATER)
        assert recorded.completed
        assert batches_of(backstage) == []


async def test_cancel_and_planning_at_once(store: SqlStore, other_store: SqlStore) -> None:
    """A page is planned wholly before, and then gets its results, or not at all."""
    for number in range(20):
        message = await accepted(store, f"m{number}")
        page = AudiencePage(items("d1"), [missing("x")], "d1")
        new = [NewBatch(items("d1"), NOW, Priority.NORMAL)]
        cancelled, added = await asyncio.gather(
            other_store.cancel(APP, f"m{number}", LATER),
            store.add_plan(message.ref, "", page, new, LATER),
            return_exceptions=True,
        )
        assert isinstance(cancelled, Recorded)
        left = await claimed(store)
        if isinstance(added, ConcurrentChange):
            assert cancelled.completed
            assert left == []
        else:
            assert isinstance(added, Recorded)
            assert not cancelled.completed
            [recorded] = await store.record([report(left[0], result("d1", Outcome.CANCELLED), done=True)], LATER)
            assert recorded.completed
        assert (await store.get_message_by_ref(message.ref)).state is MessageState.CANCELLED


async def test_many_cancel_at_once(store: SqlStore, other_store: SqlStore) -> None:
    message = await accepted(store)
    told = await asyncio.gather(*(each.cancel(APP, "m1", LATER) for each in (store, other_store) for _ in range(5)))
    assert [recorded.completed for recorded in told].count(True) == 1
    assert {recorded.message_ref for recorded in told} == {message.ref}

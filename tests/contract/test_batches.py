"""Plans and leases on both databases: each batch in one hand at a time, nothing forgotten when a hand lets go."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from bellhop_server.domain.batch import BatchReport, Item, NewBatch
from bellhop_server.domain.device import Platform
from bellhop_server.domain.errors import ConcurrentChange
from bellhop_server.domain.lanes import Lane, Survey
from bellhop_server.domain.message import MessageCounts, MessageState
from bellhop_server.domain.notification import Priority
from bellhop_server.domain.planning import AudiencePage
from bellhop_server.domain.query import ResultQuery
from bellhop_server.store.batch_rows import pack, unpack
from bellhop_server.store.sql_store import SqlStore
from tests.contract.messaging import APP, LEASE, NOW, accepted, claimed, items, missing, planned, result

WORN = Item("d2", "\U0001f600", 2**40, "0123456789abcdef", Platform.WEB_PUSH, 3, 1, 2, 'Too"Many', 429)


@pytest.mark.parametrize("packed", [[], items("d1"), [WORN], [*items("d1"), WORN]])
def test_items_come_back_as_they_were(packed: list[Item]) -> None:
    assert unpack(pack(packed)) == packed


def test_items_of_a_later_version_are_refused() -> None:
    with pytest.raises(ValueError, match="version 2"):
        unpack(pack(items("d1")).replace('"v":1', '"v":2'))


async def test_a_plan_grows_page_by_page(store: SqlStore) -> None:
    message = await accepted(store)
    first = AudiencePage(items("d1", "d2", "d3"), [missing("x1")], "d3")
    batches = [
        NewBatch(items("d1", "d2"), NOW, Priority.NORMAL),
        NewBatch([WORN], NOW + 1, Priority.NORMAL),
    ]
    recorded = await store.add_plan(message.ref, "", first, batches, NOW + 5)
    stamped = missing("x1")._replace(result_time=NOW + 5)
    assert (recorded.message_ref, recorded.first_seq, recorded.results) == (message.ref, 1, [stamped])
    assert not recorded.completed
    assert [planning.after for planning in await store.unplanned(9)] == ["d3"]
    expected = MessageCounts(device_count=3, planned=False, not_registered_count=1)
    assert await store.counts([message.ref]) == {message.ref: expected}

    last = AudiencePage(items("d4"), [missing("x2"), missing("", "u1", "NoDevice")], None)
    recorded = await store.add_plan(message.ref, "d3", last, [NewBatch(items("d4"), NOW, Priority.NORMAL)], NOW + 6)
    assert (recorded.first_seq, len(recorded.results), recorded.completed) == (2, 2, False)
    assert await store.unplanned(9) == []
    expected = MessageCounts(device_count=4, planned=True, not_registered_count=3)
    assert await store.counts([message.ref]) == {message.ref: expected}
    assert await store.last_seq(message.ref) == 3
    listed = await store.list_results(ResultQuery(message.ref), 0, 9)
    assert listed == [(1, stamped), (2, recorded.results[0]), (3, recorded.results[1])]

    one, two, three = await claimed(store)
    assert [one.items, two.items, three.items] == [items("d1", "d2"), items("d4"), [WORN]]
    assert (one.message_ref, one.app_id, one.in_doubt, one.priority) == (
        message.ref,
        message.app_id,
        False,
        Priority.NORMAL,
    )


async def test_a_plan_that_resolves_to_nobody_completes_the_message(store: SqlStore) -> None:
    message = await accepted(store)
    recorded = await store.add_plan(message.ref, "", AudiencePage([], [missing("x1")], None), [], NOW + 5)
    assert recorded.completed
    assert await store.get_message_by_ref(message.ref) == replace(
        message, state=MessageState.COMPLETED, complete_time=NOW + 5
    )


async def test_a_plan_whose_devices_are_all_done_completes_the_message(store: SqlStore) -> None:
    message = await accepted(store)
    page = AudiencePage(items("d1"), [], "d1")
    await store.add_plan(message.ref, "", page, [NewBatch(items("d1"), NOW, Priority.NORMAL)], NOW)
    [batch] = await claimed(store)
    [recorded] = await store.record([BatchReport(batch.batch_id, message.ref, batch.lease, [result("d1")], True)], NOW)
    assert not recorded.completed
    assert (await store.add_plan(message.ref, "d1", AudiencePage([], [], None), [], NOW + 5)).completed
    assert (await store.get_message_by_ref(message.ref)).complete_time == NOW + 5


@pytest.mark.promise("P7")
async def test_only_one_of_two_planners_moves_the_cursor(store: SqlStore, other_store: SqlStore) -> None:
    message = await accepted(store)
    page = AudiencePage(items("d1"), [missing("x1")], "d1")
    batches = [NewBatch(items("d1"), NOW, Priority.NORMAL)]
    outcomes = await asyncio.gather(
        *(planner.add_plan(message.ref, "", page, batches, NOW) for planner in (store, other_store) for _ in range(5)),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes].count(ConcurrentChange) == 9
    assert len(await claimed(store)) == 1
    expected = MessageCounts(device_count=1, planned=False, not_registered_count=1)
    assert await store.counts([message.ref]) == {message.ref: expected}
    assert len(await store.list_results(ResultQuery(message.ref), 0, 9)) == 1


async def test_a_plan_that_has_ended_is_not_begun_again(store: SqlStore) -> None:
    message = await accepted(store)
    await store.add_plan(message.ref, "", AudiencePage(items("d1"), [], None), [], NOW)
    with pytest.raises(ConcurrentChange):
        await store.add_plan(message.ref, "", AudiencePage(items("d1"), [], None), [], NOW)


async def test_each_lane_has_its_turn_and_in_it_the_older_ones_first(store: SqlStore) -> None:
    order = []
    for name, priority, due in (
        ("low", Priority.LOW, NOW - 9),
        ("late", Priority.NORMAL, NOW),
        ("early", Priority.NORMAL, NOW - 1),
        ("high", Priority.HIGH, NOW),
        ("not yet", Priority.HIGH, NOW + 1),
    ):
        message = await accepted(store, name.replace(" ", "-"))
        page = AudiencePage(items(name), [], None)
        await store.add_plan(message.ref, "", page, [NewBatch(items(name), due, priority, retry=due > NOW)], NOW)
    for limit in (1, 2, 5):
        order.append([batch.items[0].device_id for batch in await claimed(store, limit=limit)])
    assert order == [["low", "early", "high"], ["late"], []]


async def test_a_lapsed_lease_ranks_by_its_turn(store: SqlStore) -> None:
    await planned(store, await accepted(store, "first"), ["d1"])
    [first] = await claimed(store, until=NOW + 5)
    assert first.items == items("d1")
    await planned(store, await accepted(store, "second"), ["d2"], now=NOW + 1)
    assert [batch.items for batch in await claimed(store, now=NOW + 5)] == [items("d1"), items("d2")]


@pytest.mark.promise("P7")
async def test_claimers_never_share_a_batch(store: SqlStore, other_store: SqlStore) -> None:
    message = await accepted(store)
    await planned(store, message, *([f"d{number}"] for number in range(60)))
    shares = await asyncio.gather(
        *(claimed(each, f"w{turn}", limit=5) for turn in range(8) for each in (store, other_store))
    )
    taken = Counter(batch.batch_id for share in shares for batch in share)
    assert set(taken.values()) == {1}
    # Who was passed over because somebody else was just taking it comes back for it.
    rest = await claimed(store)
    assert len(taken) + len(rest) == 60
    assert len({share[0].lease for share in shares if share}) == sum(1 for share in shares if share)


async def test_a_lease_ends_by_the_clock(store: SqlStore) -> None:
    await planned(store, await accepted(store), ["d1"])
    [first] = await claimed(store, "w1", NOW, until=NOW + 10)
    assert await claimed(store, "w2", NOW + 9, until=NOW + 19) == []
    [second] = await claimed(store, "w2", NOW + 10, until=NOW + 20)
    assert (second.batch_id, second.in_doubt) == (first.batch_id, False)
    assert second.lease != first.lease
    assert not await store.start(first.batch_id, first.lease, NOW + 11, NOW + 30)
    assert await store.start(second.batch_id, second.lease, NOW + 11, NOW + 30)


async def test_who_starts_late_has_lost_the_lease(store: SqlStore) -> None:
    await planned(store, await accepted(store), ["d1"])
    [batch] = await claimed(store, "w1", NOW, until=NOW + 10)
    assert not await store.start(batch.batch_id, batch.lease, NOW + 10, NOW + 30)
    assert not await store.start(batch.batch_id + 1, batch.lease, NOW, NOW + 30)
    [again] = await claimed(store, "w2", NOW + 10, until=NOW + 20)
    assert not again.in_doubt


@pytest.mark.promise("P9")
async def test_starting_prolongs_the_lease_and_leaves_a_doubt(store: SqlStore) -> None:
    await planned(store, await accepted(store), ["d1"])
    [batch] = await claimed(store, "w1", NOW, until=NOW + 10)
    assert await store.start(batch.batch_id, batch.lease, NOW + 9, NOW + 30)
    assert await claimed(store, "w2", NOW + 29, until=NOW + 40) == []
    [doubtful] = await claimed(store, "w2", NOW + 30, until=NOW + 40)
    assert doubtful.in_doubt
    # The doubt outlives a holder who never began.
    [still] = await claimed(store, "w3", NOW + 40, until=NOW + 50)
    assert still.in_doubt


async def test_a_worker_gives_back_what_it_has_not_started(store: SqlStore) -> None:
    await planned(store, await accepted(store), ["d1"], ["d2"], ["d3"])
    started, waiting = await claimed(store, "w1", NOW, limit=2, until=LEASE)
    [of_another] = await claimed(store, "w2", NOW, limit=2, until=LEASE)
    assert await store.start(started.batch_id, started.lease, NOW, LEASE)
    assert await store.release("w1") == 1
    assert await store.release("w1") == 0
    assert await store.release("nobody") == 0
    [again] = await claimed(store)
    assert (again.batch_id, again.in_doubt) == (waiting.batch_id, False)
    assert not await store.start(waiting.batch_id, waiting.lease, NOW, LEASE)
    assert await store.start(of_another.batch_id, of_another.lease, NOW, LEASE)


async def test_a_batch_in_doubt_is_given_back_in_doubt(store: SqlStore) -> None:
    await planned(store, await accepted(store), ["d1"])
    [batch] = await claimed(store, "w1", NOW, until=NOW + 10)
    await store.start(batch.batch_id, batch.lease, NOW, NOW + 10)
    await claimed(store, "w2", NOW + 10, until=LEASE)
    assert await store.release("w2") == 1
    [again] = await claimed(store, "w3", NOW + 10, until=LEASE)
    assert again.in_doubt


@pytest.mark.promise("P6")
async def test_at_start_a_store_of_ones_own_ends_every_lease(store: SqlStore) -> None:
    await planned(store, await accepted(store), ["d1"], ["d2"], ["d3"])
    started, waiting = await claimed(store, "w1", NOW, limit=2, until=LEASE)
    await store.start(started.batch_id, started.lease, NOW, LEASE)
    assert await store.end_leases(NOW) == 2
    again = {batch.batch_id: batch.in_doubt for batch in await claimed(store)}
    assert again[started.batch_id]
    assert not again[waiting.batch_id]
    assert len(again) == 3
    assert not await store.start(waiting.batch_id, waiting.lease, NOW, LEASE)


async def test_next_due_is_the_earliest_of_what_waits_and_what_is_held(store: SqlStore) -> None:
    low, high = Lane(APP, Priority.LOW), Lane(APP, Priority.HIGH)
    assert await store.survey(NOW, ()) == Survey([], None)
    message = await accepted(store)
    batches = [NewBatch(items("d1"), NOW, Priority.LOW), NewBatch(items("d2"), NOW + 50, Priority.HIGH, retry=True)]
    await store.add_plan(message.ref, "", AudiencePage(items("d1", "d2"), [], None), batches, NOW)
    assert await store.survey(NOW, ()) == Survey([low], NOW + 50)
    [held] = await claimed(store, until=NOW + 70)
    assert await store.survey(NOW, ()) == Survey([], NOW + 50)
    assert await store.survey(NOW + 50, ()) == Survey([high], NOW + 70)
    [retried] = await claimed(store, now=NOW + 50, until=NOW + 90)
    assert retried.items == items("d2")
    assert await store.survey(NOW + 50, ()) == Survey([], NOW + 70)
    await store.start(held.batch_id, held.lease, NOW + 60, NOW + 99)
    assert await store.survey(NOW + 60, ()) == Survey([], NOW + 90)
    assert await store.survey(NOW + 95, ()) == Survey([high], NOW + 99)
    assert await store.survey(NOW + 95, {retried.batch_id}) == Survey([], NOW + 99)


async def test_a_claim_does_not_walk_through_what_is_not_due(store: SqlStore) -> None:
    """Thousands of retries of an urgent message that wait do not hide what is due."""
    message = await accepted(store)
    later = [NewBatch([], NOW + 99, Priority.HIGH, retry=True) for _ in range(3_000)]
    due = NewBatch(items("d1"), NOW, Priority.LOW)
    await store.add_plan(message.ref, "", AudiencePage(items("d1"), [], None), [*later, due], NOW)
    assert [batch.items for batch in await claimed(store, limit=4)] == [items("d1")]

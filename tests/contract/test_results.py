"""Results on both databases: each device one, numbered in the order of commits, counted as they are written."""

from dataclasses import replace

import pytest

from bellhop_server.domain.batch import ClaimedBatch, NewBatch, Recorded
from bellhop_server.domain.device import Platform
from bellhop_server.domain.lanes import Survey
from bellhop_server.domain.message import Message, MessageCounts, MessageState, Outcome, Result, ResultFilter
from bellhop_server.domain.notification import Priority
from bellhop_server.domain.planning import AudiencePage
from bellhop_server.domain.query import ResultQuery
from bellhop_server.store.database import Database
from bellhop_server.store.sql_store import SqlStore
from tests.contract.backstage import Backstage
from tests.contract.messaging import NOW, Known, accepted, claimed, items, planned, report, result, results_of


async def one_batch(store: SqlStore, *device_ids: str, message_id: str = "m1") -> tuple[Message, ClaimedBatch]:
    message = await accepted(store, message_id)
    await planned(store, message, device_ids)
    [batch] = await claimed(store)
    return message, batch


async def test_results_are_read_as_they_were_reported(store: SqlStore) -> None:
    message, batch = await one_batch(store, "d1", "d2", "d3")
    told = [
        result("d1"),
        Result(
            "d2", "\U0001f600", Platform.WEB_PUSH, Outcome.TOKEN_INVALID, "Unregistered", 410, "", 3, NOW + 1, NOW - 9
        ),
        result("d3", Outcome.UNKNOWN),
    ]
    [recorded] = await store.record([report(batch, *told)], NOW)
    assert recorded == Recorded(message.ref, 1, told, completed=True)
    assert await results_of(store, message) == list(enumerate(told, 1))
    assert await store.last_seq(message.ref) == 3
    assert await store.counts([message.ref]) == {
        message.ref: MessageCounts(
            device_count=3,
            planned=True,
            finished_count=3,
            outcomes={
                (Platform.APNS, Outcome.ACCEPTED): 1,
                (Platform.WEB_PUSH, Outcome.TOKEN_INVALID): 1,
                (Platform.APNS, Outcome.UNKNOWN): 1,
            },
        )
    }


@pytest.mark.promise("P7")
async def test_the_last_result_completes_the_message_once(store: SqlStore) -> None:
    message, batch = await one_batch(store, "d1", "d2")
    [first] = await store.record([report(batch, result("d1"))], NOW + 1)
    assert not first.completed
    assert (await store.get_message_by_ref(message.ref)).state is MessageState.SENDING
    [last] = await store.record([report(batch, result("d2"))], NOW + 2)
    assert (last.first_seq, last.completed) == (2, True)
    [ended] = await store.record([report(batch, done=True)], NOW + 3)
    assert ended == Recorded(message.ref, 0, [], completed=False)
    assert await store.get_message_by_ref(message.ref) == replace(
        message, state=MessageState.COMPLETED, complete_time=NOW + 2
    )
    assert await store.survey(NOW + 3, ()) == Survey([], None)


async def test_a_message_is_not_complete_before_it_is_planned(store: SqlStore) -> None:
    message = await accepted(store)
    page = AudiencePage(items("d1"), [], "d1")
    await store.add_plan(message.ref, "", page, [NewBatch(items("d1"), NOW, Priority.NORMAL)], NOW)
    [batch] = await claimed(store)
    [recorded] = await store.record([report(batch, result("d1"), done=True)], NOW)
    assert not recorded.completed
    assert (await store.get_message_by_ref(message.ref)).state is MessageState.SENDING


async def test_reports_of_many_messages_in_one_call(store: SqlStore) -> None:
    one, two = await accepted(store, "m1"), await accepted(store, "m2")
    await planned(store, one, ["a1", "a2"], ["a3"])
    await planned(store, two, ["b1", "b2"])
    [a, b, c] = await claimed(store)
    recorded = await store.record(
        [
            report(a, result("a1")),
            report(c, result("b1"), result("b2"), done=True),
            report(b, result("a3"), done=True),
            report(a, result("a2"), done=True),
            report(a, result("a2"), done=True),
        ],
        NOW,
    )
    assert [(each.message_ref, each.first_seq, len(each.results), each.completed, each.lost) for each in recorded] == [
        (one.ref, 1, 1, False, False),
        (two.ref, 1, 2, True, False),
        (one.ref, 2, 1, False, False),
        (one.ref, 3, 1, True, False),
        # The batch ended with the report before.
        (one.ref, 0, 0, False, True),
    ]
    assert [each.device_id for _, each in await results_of(store, one)] == ["a1", "a3", "a2"]
    assert await store.record([], NOW) == []


@pytest.mark.promise("P7")
async def test_who_lost_the_lease_leaves_no_trace(store: SqlStore) -> None:
    message = await accepted(store)
    await planned(store, message, ["d1", "d2"])
    [old] = await claimed(store, "w1", NOW, until=NOW + 10)
    await store.start(old.batch_id, old.lease, NOW, NOW + 10)
    # Its time is up, but nobody has come for it: what it knows is still the truth.
    [late] = await store.record([report(old, result("d1"))], NOW + 20)
    assert not late.lost
    [new] = await claimed(store, "w2", NOW + 20, until=NOW + 99)
    again = NewBatch(items("d1", "d2"), NOW, Priority.NORMAL, retry=True)
    [lost] = await store.record([report(old, result("d2"), done=True, again=(again,))], NOW + 21)
    assert lost == Recorded(message.ref, 0, [], completed=False, lost=True)
    forged = replace(new, message_ref=message.ref + 1)
    assert (await store.record([report(forged, result("d2"))], NOW + 21))[0].lost
    assert [each.device_id for _, each in await results_of(store, message)] == ["d1"]
    assert (await store.counts([message.ref]))[message.ref].finished_count == 1
    assert await claimed(store, "w3", NOW + 21, until=NOW + 99) == []
    assert await store.reported(new) == {("d1", "")}
    [kept] = await store.record([report(new, result("d2"), done=True)], NOW + 22)
    assert kept.completed


async def test_reported_tells_devices_and_users_apart(store: SqlStore) -> None:
    """A phone taken over between two pages is planned for both."""
    message = await accepted(store)
    for_ann, for_bob = Known("d1", "ann").item, Known("d1", "bob").item
    batches = [NewBatch([item], NOW, Priority.NORMAL) for item in (for_ann, for_bob)]
    await store.add_plan(message.ref, "", AudiencePage([for_ann, for_bob], [], None), batches, NOW)
    ann, bob = await claimed(store)
    await store.record([report(ann, result("d1", user_id="ann"))], NOW)
    assert await store.reported(ann) == {("d1", "ann")}
    assert await store.reported(bob) == set()
    [recorded] = await store.record([report(bob, result("d1", user_id="bob"))], NOW)
    assert recorded.completed
    assert len(await results_of(store, message)) == 2


@pytest.mark.promise("P7")
async def test_what_is_tried_again_is_written_with_the_end_of_the_batch(store: SqlStore) -> None:
    message, batch = await one_batch(store, "d1", "d2")
    worn = replace(items("d2")[0], attempts=2, obstacle="Busy", obstacle_status=503)
    again = NewBatch([worn], NOW + 5, Priority.HIGH, retry=True)
    [recorded] = await store.record([report(batch, result("d1"), done=True, again=(again,))], NOW)
    assert not recorded.completed
    assert await claimed(store) == []
    [retried] = await claimed(store, now=NOW + 5)
    assert (retried.priority, retried.items, retried.in_doubt) == (Priority.HIGH, [worn], False)
    assert (retried.message_ref, retried.app_id) == (message.ref, message.app_id)
    assert retried.batch_id != batch.batch_id


@pytest.mark.promise("P7")
async def test_the_first_result_of_a_device_wins(store: SqlStore) -> None:
    message, batch = await one_batch(store, "d1", "d2", "d3")
    other, other_batch = await one_batch(store, "d1", message_id="m2")
    await store.record([report(batch, result("d1"))], NOW)
    late = result("d1", Outcome.UNKNOWN)
    recorded = await store.record(
        [report(batch, late, result("d2"), result("d2", Outcome.UNKNOWN), result("d3")), report(other_batch, late)], NOW
    )
    assert [(each.first_seq, [one.device_id for one in each.results], each.completed) for each in recorded] == [
        (2, ["d2", "d3"], True),
        (1, ["d1"], True),
    ]
    assert [(seq, each.device_id, each.outcome) for seq, each in await results_of(store, message)] == [
        (1, "d1", Outcome.ACCEPTED),
        (2, "d2", Outcome.ACCEPTED),
        (3, "d3", Outcome.ACCEPTED),
    ]
    assert (await store.counts([message.ref]))[message.ref].outcomes == {(Platform.APNS, Outcome.ACCEPTED): 3}
    assert (await store.counts([other.ref]))[other.ref].outcomes == {(Platform.APNS, Outcome.UNKNOWN): 1}
    [nothing] = await store.record([report(batch, late, done=True)], NOW)
    assert (nothing.results, nothing.completed, nothing.lost) == ([], False, False)


async def test_providers_words_are_cut_and_have_no_nul(store: SqlStore) -> None:
    message, batch = await one_batch(store, "d1", "d2")
    told = [
        result("d1", reason="a\0b" + "\U0001f600" * 300),
        result("d2")._replace(provider_message_id="\0x" * 300, reason="fine"),
    ]
    [recorded] = await store.record([report(batch, *told)], NOW)
    assert recorded.results == [
        told[0]._replace(reason="ab" + "\U0001f600" * 254),
        told[1]._replace(provider_message_id="x" * 256),
    ]
    assert [each for _, each in await results_of(store, message)] == recorded.results


async def test_lists_are_filtered_and_continued(store: SqlStore) -> None:
    message, batch = await one_batch(store, *(f"d{number}" for number in range(6)))
    told = [
        result("d0", user_id="ann"),
        result("d1", Outcome.TOKEN_INVALID, user_id="bob"),
        result("d2")._replace(platform=Platform.FCM),
        result("d3", Outcome.EXPIRED)._replace(platform=Platform.WEB_PUSH),
        result("d4", user_id="ann"),
        result("d5", Outcome.NOT_REGISTERED)._replace(platform=0),
    ]
    await store.record([report(batch, *told)], NOW)

    async def listed(query: ResultQuery, after: int = 0, limit: int = 9) -> list[int]:
        return [seq for seq, _ in await store.list_results(query, after, limit)]

    ref = message.ref
    assert await listed(ResultQuery(ref)) == [1, 2, 3, 4, 5, 6]
    assert await listed(ResultQuery(ref), 2, 3) == [3, 4, 5]
    assert await listed(ResultQuery(ref), 6) == []
    assert await listed(ResultQuery(ref, ResultFilter.FAILURES)) == [2, 4, 6]
    assert await listed(ResultQuery(ref, ResultFilter.FAILURES), 2, 1) == [4]
    assert await listed(ResultQuery(ref, ResultFilter.NONE)) == []
    assert await listed(ResultQuery(ref, outcomes=(Outcome.ACCEPTED, Outcome.EXPIRED))) == [1, 3, 4, 5]
    assert await listed(ResultQuery(ref, platforms=(Platform.FCM, Platform.WEB_PUSH))) == [3, 4]
    assert await listed(ResultQuery(ref, device_id="d4")) == [5]
    assert await listed(ResultQuery(ref, user_id="ann")) == [1, 5]
    assert await listed(ResultQuery(ref, outcomes=(Outcome.ACCEPTED,), user_id="bob")) == []
    assert await listed(ResultQuery(ref + 1)) == []


@pytest.mark.promise("P10")
async def test_a_failed_transaction_leaves_no_number_behind(
    store: SqlStore, database: Database, backstage: Backstage
) -> None:
    message, batch = await one_batch(store, "d1", "d2")
    backstage.execute("ALTER TABLE outcome_counts RENAME TO elsewhere")
    with pytest.raises(Exception, match="outcome_counts"):
        await store.record([report(batch, result("d1"))], NOW)
    assert await store.last_seq(message.ref) == 0
    assert await results_of(store, message) == []
    backstage.execute("ALTER TABLE elsewhere RENAME TO outcome_counts")
    [recorded] = await store.record([report(batch, result("d1"), result("d2"))], NOW)
    assert (recorded.first_seq, recorded.completed) == (1, True)


async def test_more_results_than_a_statement_has_places(store: SqlStore) -> None:
    ids = [f"d{number:05}" for number in range(5_000)]
    message = await accepted(store)
    await planned(store, message, *(ids[start : start + 500] for start in range(0, 5_000, 500)))
    batches = await claimed(store)
    reports = [report(batch, *(result(item.device_id) for item in batch.items), done=True) for batch in batches]
    recorded = await store.record(reports, NOW)
    assert [each.completed for each in recorded] == [False] * 9 + [True]
    assert [seq for seq, _ in await results_of(store, message)] == list(range(1, 5_001))

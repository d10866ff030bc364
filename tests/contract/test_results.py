"""Results on both databases: each device one, numbered in the order of commits, counted as they are written."""

import asyncio
from collections import Counter
from contextlib import aclosing
from dataclasses import replace

import asyncpg
import pytest

from bellhop_server.domain.batch import BatchReport, ClaimedBatch, NewBatch, Recorded
from bellhop_server.domain.device import Platform
from bellhop_server.domain.message import Message, MessageCounts, MessageState, Outcome, Result, ResultFilter
from bellhop_server.domain.notification import Priority
from bellhop_server.ports import AudiencePage, ResultQuery
from bellhop_server.store.database import Database, open_database
from bellhop_server.store.seal import MasterKey
from bellhop_server.store.sql_store import SqlStore
from tests.contract.backstage import Backstage
from tests.contract.messaging import NOW, Known, accepted, claimed, items, planned, result


def report(batch: ClaimedBatch, *results: Result, done: bool = False, again: tuple[NewBatch, ...] = ()) -> BatchReport:
    return BatchReport(batch.batch_id, batch.message_ref, batch.lease, list(results), done, list(again))


async def one_batch(store: SqlStore, *device_ids: str, message_id: str = "m1") -> tuple[Message, ClaimedBatch]:
    message = await accepted(store, message_id)
    await planned(store, message, device_ids)
    [batch] = await claimed(store)
    return message, batch


async def results_of(store: SqlStore, message: Message) -> list[tuple[int, Result]]:
    return await store.list_results(ResultQuery(message.ref), 0, 100_000)


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
    assert await store.next_due() is None


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


async def test_who_lost_the_lease_leaves_no_trace(store: SqlStore) -> None:
    message = await accepted(store)
    await planned(store, message, ["d1", "d2"])
    [old] = await store.claim("w1", NOW, NOW + 10, 9)
    await store.start(old.batch_id, old.lease, NOW, NOW + 10)
    # Its time is up, but nobody has come for it: what it knows is still the truth.
    [late] = await store.record([report(old, result("d1"))], NOW + 20)
    assert not late.lost
    [new] = await store.claim("w2", NOW + 20, NOW + 99, 9)
    again = NewBatch(items("d1", "d2"), NOW, Priority.NORMAL, retry=True)
    [lost] = await store.record([report(old, result("d2"), done=True, again=(again,))], NOW + 21)
    assert lost == Recorded(message.ref, 0, [], completed=False, lost=True)
    forged = replace(new, message_ref=message.ref + 1)
    assert (await store.record([report(forged, result("d2"))], NOW + 21))[0].lost
    assert [each.device_id for _, each in await results_of(store, message)] == ["d1"]
    assert (await store.counts([message.ref]))[message.ref].finished_count == 1
    assert await store.claim("w3", NOW + 21, NOW + 99, 9) == []
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


async def test_what_is_tried_again_is_written_with_the_end_of_the_batch(store: SqlStore) -> None:
    message, batch = await one_batch(store, "d1", "d2")
    worn = replace(items("d2")[0], attempts=2, obstacle="Busy", obstacle_status=503)
    again = NewBatch([worn], NOW + 5, Priority.HIGH, retry=True)
    [recorded] = await store.record([report(batch, result("d1"), done=True, again=(again,))], NOW)
    assert not recorded.completed
    assert await claimed(store) == []
    [retried] = await claimed(store, now=NOW + 5)
    assert (retried.retry, retried.items, retried.in_doubt) == (True, [worn], False)
    assert (retried.message_ref, retried.app_id) == (message.ref, message.app_id)
    assert retried.batch_id != batch.batch_id


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


async def test_counts_add_up_under_many_recorders(store: SqlStore, other_store: SqlStore) -> None:
    """Recorders of two processes, each with batches of the same messages; one completes each message, once."""
    messages = [await accepted(store, f"m{number}") for number in range(3)]
    for message in messages:
        await planned(store, message, *([f"d{batch}-{number}" for number in range(20)] for batch in range(8)))
    batches = await claimed(store)
    outcomes = (Outcome.ACCEPTED, Outcome.TOKEN_INVALID, Outcome.UNKNOWN)

    async def work(recorder: SqlStore, share: list[ClaimedBatch]) -> list[Recorded]:
        told: list[Recorded] = []
        for half in (slice(0, 10), slice(10, 20)):
            for pair in zip(share[::2], reversed(share[1::2]), strict=True):
                reports = [
                    report(
                        batch,
                        *(result(item.device_id, outcomes[at % 3]) for at, item in enumerate(batch.items[half])),
                        done=half.start > 0,
                    )
                    for batch in pair
                ]
                told += await recorder.record(reports, NOW)
        return told

    shares = [batches[start::6] for start in range(6)]
    recorders = (store, other_store)
    told = await asyncio.gather(*(work(recorders[turn % 2], share) for turn, share in enumerate(shares)))
    recorded = [each for share in told for each in share]
    assert Counter(each.message_ref for each in recorded if each.completed) == {each.ref: 1 for each in messages}
    for message in messages:
        seqs = [
            each.first_seq + place
            for each in recorded
            if each.message_ref == message.ref
            for place in range(len(each.results))
        ]
        assert sorted(seqs) == list(range(1, 161))
        counts = (await store.counts([message.ref]))[message.ref]
        assert counts.finished_count == counts.device_count == 160
        listed = await results_of(store, message)
        assert Counter((each.platform, each.outcome) for _, each in listed) == counts.outcomes
        assert (await store.get_message_by_ref(message.ref)).state is MessageState.COMPLETED
        assert [seq for seq, _ in listed] == sorted(seqs)


async def test_a_reader_that_pages_while_others_write_skips_nothing(store: SqlStore, other_store: SqlStore) -> None:
    """Numbers come in the order of commits: what is read up to a number is all there ever will be up to it."""
    message = await accepted(store)
    await planned(store, message, *([f"d{batch}-{number}" for number in range(30)] for batch in range(8)))
    batches = await claimed(store)
    done = asyncio.Event()

    async def write(recorder: SqlStore, share: list[ClaimedBatch]) -> None:
        for number in range(30):
            for batch in share:
                await recorder.record([report(batch, result(batch.items[number].device_id))], NOW)

    async def read() -> list[tuple[int, str]]:
        seen: list[tuple[int, str]] = []
        after = 0
        while True:
            last = done.is_set()
            page = await store.list_results(ResultQuery(message.ref), after, 7)
            seen += [(seq, each.device_id) for seq, each in page]
            after = page[-1][0] if page else after
            if last and not page:
                return seen

    reader = asyncio.create_task(read())
    await asyncio.gather(*(write(recorder, batches[turn::4]) for turn, recorder in enumerate((store, other_store) * 2)))
    done.set()
    seen = await reader
    assert [seq for seq, _ in seen] == list(range(1, 241))
    assert len({device_id for _, device_id in seen}) == 240


async def test_nobody_takes_a_batch_over_while_its_holder_records(postgresql_url: str, master_key: MasterKey) -> None:
    """Else the new holder would not see those results, and hand the same devices over again."""
    async with aclosing(await open_database(postgresql_url)) as database:
        store = SqlStore(database, master_key)
        message = await accepted(store)
        await planned(store, message, ["d1"])
        [batch] = await store.claim("w1", NOW, NOW + 10, 9)
        connection = await asyncpg.connect(postgresql_url)
        try:
            async with connection.transaction():
                await connection.execute("SELECT 1 FROM messages FOR UPDATE")
                recording = asyncio.create_task(store.record([report(batch, result("d1"))], NOW + 11))
                while not await connection.fetchval("SELECT COUNT(*) FROM pg_locks WHERE NOT granted"):
                    assert not recording.done()
                assert await store.claim("w2", NOW + 11, NOW + 99, 9) == []
            [recorded] = await recording
            assert recorded.completed
        finally:
            await connection.close()
        [taken_over] = await store.claim("w2", NOW + 11, NOW + 99, 9)
        assert await store.reported(taken_over) == {("d1", "")}


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

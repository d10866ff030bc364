"""Results that several recorders write at once: numbers without a gap, counts that add up, one holder of a batch."""

import asyncio
from collections import Counter

import pytest

from bellhop_server.domain.batch import ClaimedBatch, Recorded
from bellhop_server.domain.message import MessageState, Outcome
from bellhop_server.domain.query import ResultQuery
from bellhop_server.store.sql_store import SqlStore
from tests.contract.messaging import NOW, accepted, claimed, planned, report, result, results_of

pytestmark = pytest.mark.promise("P7")


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


@pytest.mark.promise("P10")
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

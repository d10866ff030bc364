"""A lease that changes hands at the very moment at which its former holder writes."""

import asyncio

import pytest

from bellhop_server.domain.batch import ClaimedBatch
from bellhop_server.domain.lanes import Share
from bellhop_server.domain.message import Outcome
from bellhop_server.store.sql_store import SqlStore
from tests.contract.messaging import LEASE, NOW, accepted, claimed, planned, report, result, results_of

BATCHES = 40
ENDED = NOW + 10


@pytest.mark.promise("P7")
@pytest.mark.promise("P9")
async def test_the_former_holder_is_in_time_or_leaves_no_trace(store: SqlStore, other_store: SqlStore) -> None:
    message = await accepted(store)
    await planned(store, message, *([f"d{number}"] for number in range(BATCHES)))
    shares = [Share(lane, BATCHES, BATCHES) for lane in (await store.survey(NOW, ())).lanes]
    former = await store.claim("w1", NOW, ENDED, shares, ())
    assert len(former) == BATCHES
    for batch in former:
        assert await store.start(batch.batch_id, batch.lease, NOW, ENDED)

    async def write(batch: ClaimedBatch) -> bool:
        [recorded] = await store.record([report(batch, result(batch.items[0].device_id), done=True)], ENDED)
        return not recorded.lost

    half = BATCHES // 2
    early = [await write(batch) for batch in former[:half]]
    *late, taken = await asyncio.gather(*map(write, former[half:]), other_store.claim("w2", ENDED, LEASE, shares, ()))
    # What is not there yet when the other one looks is in doubt, and the other one has the last word.
    assert all(batch.in_doubt for batch in taken)
    for batch in taken:
        device_id = batch.items[0].device_id
        assert await other_store.reported(batch) == set()
        ending = report(batch, result(device_id, Outcome.UNKNOWN), done=True)
        assert not (await other_store.record([ending], ENDED))[0].lost

    outcomes = {each.device_id: each.outcome for _, each in await results_of(store, message)}
    in_time = dict(zip((batch.items[0].device_id for batch in former), [*early, *late], strict=True))
    assert all(early)
    assert {device_id for device_id, outcome in outcomes.items() if outcome is Outcome.ACCEPTED} == {
        device_id for device_id, written in in_time.items() if written
    }
    assert {batch.items[0].device_id for batch in taken} == {each for each, written in in_time.items() if not written}
    assert len(outcomes) == BATCHES == (await store.counts([message.ref]))[message.ref].finished_count
    assert await claimed(store, now=LEASE) == []

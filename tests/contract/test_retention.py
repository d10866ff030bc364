"""Retention on both databases: payloads, messages and keys, each in its time and in bounded steps."""

from dataclasses import replace

import pytest

from bellhop_server.domain import DAY
from bellhop_server.domain.batch import BatchReport
from bellhop_server.domain.errors import MessageNotFound, RequestIdReused
from bellhop_server.domain.message import (
    Audience,
    AudienceKind,
    MessageState,
)
from bellhop_server.domain.notification import Notification
from bellhop_server.domain.query import ResultQuery
from bellhop_server.store.sql_store import SqlStore
from tests.contract.backstage import Backstage
from tests.contract.messaging import APP, NOW, accepted, claimed, completed, planned, result, send


async def test_payloads_are_erased_after_seven_days(store: SqlStore) -> None:
    done = await completed(store, "m1")
    waiting = await accepted(store, "m2")
    assert await store.sweep(NOW + 7 * DAY - 1, 100) == 0
    assert await store.sweep(NOW + 7 * DAY, 100) == 1
    assert await store.sweep(NOW + 7 * DAY, 100) == 0
    kept = await store.get_message(APP, "m1")
    assert kept == replace(
        done,
        state=MessageState.COMPLETED,
        complete_time=NOW,
        audience=Audience(AudienceKind.USERS),
        notification=Notification(),
        payload_erased=True,
    )
    assert len(await store.list_results(ResultQuery(done.ref), 0, 9)) == 2
    assert await store.get_message(APP, "m2") == waiting


@pytest.mark.promise("P8")
async def test_messages_go_after_thirty_days_and_request_ids_a_day_later(store: SqlStore, backstage: Backstage) -> None:
    done = await completed(store, "m1", request_id="r1")
    await completed(store, "m2", NOW + DAY, request_id="r2")
    endless = await accepted(store, "m3", request_id="r3")
    while await store.sweep(NOW + 30 * DAY - 1, 100):
        pass
    assert (await store.get_message(APP, "m1")).ref == done.ref
    while await store.sweep(NOW + 30 * DAY, 100):
        pass
    with pytest.raises(MessageNotFound):
        await store.get_message(APP, "m1")
    assert (await store.get_message(APP, "m2")).payload_erased
    # A repeat that comes so late is still no second push.
    with pytest.raises(MessageNotFound):
        await store.accept(send("r1"), "mark", "m4", NOW + 30 * DAY)
    with pytest.raises(RequestIdReused):
        await store.accept(send("r1"), "other mark", "m4", NOW + 30 * DAY)
    while await store.sweep(NOW + 31 * DAY, 100):
        pass
    assert not (await store.accept(send("r1"), "mark", "m4", NOW + 31 * DAY)).replayed
    while await store.sweep(NOW + 99 * DAY, 100):
        pass
    assert await store.find_send(APP, ["r2"]) is None
    # What has not completed stays, however old it is.
    assert await store.get_message(APP, "m3") == endless
    assert await store.find_send(APP, ["r3"]) == ("mark", "m3")
    for table in ("results", "outcome_counts"):
        assert backstage.execute(f"SELECT COUNT(*) FROM {table}") == [(0,)]
    assert backstage.execute("SELECT COUNT(*) FROM payloads") == [(2,)]


async def test_a_sweep_takes_bounded_steps_through_a_large_message(store: SqlStore) -> None:
    message = await accepted(store)
    ids = [f"d{number}" for number in range(25)]
    await planned(store, message, ids)
    [batch] = await claimed(store)
    report = BatchReport(batch.batch_id, message.ref, batch.lease, [result(each) for each in ids], done=True)
    await store.record([report], NOW)
    await completed(store, "m2")
    steps = []
    while swept := await store.sweep(NOW + 40 * DAY, 10):
        steps.append(swept)
    # Two payloads; 25 + 2 results, 2 counts and 2 messages; no key.
    assert sum(steps) == 2 + 31
    assert max(steps) <= 13
    with pytest.raises(MessageNotFound):
        await store.get_message(APP, "m2")


async def test_refs_are_never_given_twice(store: SqlStore) -> None:
    last = await completed(store, "m1")
    while await store.sweep(NOW + 40 * DAY, 100):
        pass
    assert (await accepted(store, "m2")).ref > last.ref


async def test_a_message_whose_payload_is_gone_can_still_be_read(store: SqlStore, backstage: Backstage) -> None:
    """The deletion of an application takes payloads before messages."""
    message = await accepted(store)
    backstage.execute("DELETE FROM payloads")
    assert (await store.get_message_by_ref(message.ref)).payload_erased
    [planning] = await store.unplanned(9)
    assert planning.message.audience == Audience(AudienceKind.USERS)

"""What devices report of messages, on both databases: only of what was sent to them, and once."""

import asyncio

import pytest

from bellhop_server.domain import DAY
from bellhop_server.domain.device import Platform
from bellhop_server.domain.errors import DeviceNotFound, MessageNotFound
from bellhop_server.domain.interaction import Interaction, InteractionCount, Report
from bellhop_server.domain.message import Outcome
from bellhop_server.store.database import Database
from bellhop_server.store.sql_store import SqlStore
from tests.contract.messaging import APP, LEASE, NOW, Known, accepted, claimed, completed, planned, put_devices, report
from tests.contract.messaging import result as result_of

SEEN, OPENED = Interaction.SEEN, Interaction.OPENED


@pytest.fixture(autouse=True)
async def devices(database: Database) -> None:
    await put_devices(database, [Known("d1"), Known("d2"), Known("d3")])


def said(device_id: str, interaction: Interaction = SEEN, *, at: int = NOW + 5, message: str = "m1") -> Report:
    return Report(APP, message, device_id, interaction, at, NOW + 10)


async def occurred(database: Database) -> list[int]:
    statement = "SELECT occur_time FROM interactions ORDER BY occur_time"
    return await database.read(lambda connection: list(connection.exec_driver_sql(statement).scalars()))


async def test_each_is_counted_once_however_often_it_comes(store: SqlStore, other_store: SqlStore) -> None:
    message = await completed(store, "m1")
    await asyncio.gather(*(each.report(said("d1")) for each in (store, other_store) * 5))
    await store.report(said("d2"))
    await store.report(said("d2", OPENED))
    counts = await store.interaction_counts([message.ref, 10**9])
    assert counts[message.ref] == [
        InteractionCount(Platform.APNS, SEEN, 2),
        InteractionCount(Platform.APNS, OPENED, 1),
    ]
    assert counts[10**9] == []
    assert await store.interactions_of(message.ref, ["d1", "d2", "d3"]) == {"d1": [SEEN], "d2": [SEEN, OPENED]}


async def test_only_of_what_was_sent_to_the_device(store: SqlStore) -> None:
    await completed(store, "m1")
    for wrong in (said("d3"), said("d1", message="m2")):
        with pytest.raises(MessageNotFound):
            await store.report(wrong)
    with pytest.raises(DeviceNotFound):
        await store.report(said("d4"))
    with pytest.raises(DeviceNotFound):
        await store.report(Report("bank", "m1", "d1", SEEN, NOW, NOW))


async def test_what_was_never_handed_over_was_not_sent(store: SqlStore) -> None:
    message = await accepted(store)
    await planned(store, message, ["d1"])
    (batch,) = await claimed(store)
    withheld = result_of("d1", Outcome.SUPERSEDED)._replace(attempts=0)
    await store.record([report(batch, withheld, done=True)], NOW)
    with pytest.raises(MessageNotFound):
        await store.report(said("d1"))


async def test_a_push_may_be_reported_before_its_result(store: SqlStore) -> None:
    message = await accepted(store)
    await planned(store, message, ["d1"])
    with pytest.raises(MessageNotFound):
        await store.report(said("d1"))
    (batch,) = await claimed(store)
    assert await store.start(batch.batch_id, batch.lease, NOW, LEASE)
    await store.report(said("d1"))
    with pytest.raises(MessageNotFound):
        await store.report(said("d2"))
    assert await store.interactions_of(message.ref, ["d1"]) == {"d1": [SEEN]}


async def test_times_are_between_the_message_and_now(store: SqlStore, database: Database) -> None:
    await completed(store, "m1")
    await store.report(said("d1", at=NOW - DAY))
    await store.report(said("d2", at=NOW + DAY))
    await store.report(said("d2", OPENED, at=NOW + 3))
    assert await occurred(database) == [NOW, NOW + 3, NOW + 10]


async def test_they_go_with_their_message(store: SqlStore, database: Database) -> None:
    await completed(store, "m1")
    await store.report(said("d1"))
    while await store.sweep(NOW + 31 * DAY, 100):
        pass
    assert await occurred(database) == []
    with pytest.raises(MessageNotFound):
        await store.report(said("d1"))

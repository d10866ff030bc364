"""To whom messages have been handed over, on both databases, when many report at once or little is recorded yet."""

import asyncio

import pytest

from bellhop_server.domain import DAY
from bellhop_server.domain.batch import Item, NewBatch
from bellhop_server.domain.device import Platform
from bellhop_server.domain.errors import BellhopError, DeviceNotFound, MessageNotFound
from bellhop_server.domain.interaction import Interaction, Report
from bellhop_server.domain.message import Message, Outcome
from bellhop_server.domain.planning import AudiencePage
from bellhop_server.store import handed_over
from bellhop_server.store.database import Database
from bellhop_server.store.sql_store import SqlStore
from tests.contract.messaging import (
    APP,
    NOW,
    Known,
    accepted,
    claimed,
    completed,
    planned,
    put_devices,
    report,
    result,
)

SEEN, OPENED, DISMISSED = Interaction


@pytest.fixture(autouse=True)
async def devices(database: Database) -> None:
    """Some devices, and one of another application."""
    known = [Known("d1"), Known("d2", "ann", Platform.FCM), Known("d3"), Known('d"ü%_')]
    await put_devices(database, [*known, Known("d1", app_id="bank")])
    return


def said(
    device_id: str = "d1",
    interaction: Interaction = SEEN,
    *,
    message_id: str = "m1",
    app_id: str = APP,
    occur_time: int = NOW,
    now: int = NOW,
) -> Report:
    return Report(app_id, message_id, device_id, interaction, occur_time, now)


async def refused(store: SqlStore, report: Report) -> type[BellhopError] | None:
    try:
        await store.report(report)
    except BellhopError as error:
        return type(error)
    return None


async def counts(store: SqlStore, message: Message) -> list[tuple[int, int, int]]:
    counted = (await store.interaction_counts([message.ref]))[message.ref]
    return [(each.platform, each.interaction, each.count) for each in counted]


async def test_what_everybody_reports_at_once_from_two_servers_counts_once(
    store: SqlStore, other_store: SqlStore
) -> None:
    message = await completed(store, "m1")
    reports = [said(device_id, each) for each in Interaction for device_id in ("d1", "d2")] * 20
    servers = (store, other_store)
    await asyncio.gather(*(servers[place % 2].report(each) for place, each in enumerate([*reports, *reports[::-1]])))
    assert await counts(store, message) == [(Platform.APNS, each, 2) for each in Interaction]


async def test_a_repeat_is_not_written(store: SqlStore, commits: list[object]) -> None:
    await completed(store, "m1")
    await store.report(said())
    before = len(commits)
    await store.report(said())
    assert len(commits) == before


async def test_others_have_nothing_to_report(store: SqlStore) -> None:
    message = await completed(store, "m1")
    assert await refused(store, said("nobody")) is DeviceNotFound
    assert await refused(store, said("nobody", message_id="m2")) is DeviceNotFound
    assert await refused(store, said("d3")) is MessageNotFound
    assert await refused(store, said(message_id="m2")) is MessageNotFound
    assert await refused(store, said(app_id="bank")) is MessageNotFound
    assert await counts(store, message) == []


async def test_one_wrong_report_does_not_spoil_those_beside_it(store: SqlStore) -> None:
    message = await completed(store, "m1")
    said_at_once = [said("nobody"), said(), said("d3"), said("d2"), said(message_id="m2")]
    answers = await asyncio.gather(*(refused(store, each) for each in said_at_once))
    assert answers == [DeviceNotFound, None, MessageNotFound, None, MessageNotFound]
    assert await counts(store, message) == [(Platform.APNS, SEEN, 2)]


async def test_what_may_have_left_is_reported_while_it_waits_for_another_attempt(store: SqlStore) -> None:
    message = await accepted(store, "m1")
    page = AudiencePage([Known("d1").item, Known('d"ü%_').item, Known("d2").item], [], None)
    await store.add_plan(message.ref, "", page, [NewBatch(page.items, NOW, message.options.priority)], NOW)
    [batch] = await claimed(store)
    assert await store.start(batch.batch_id, batch.lease, NOW, NOW + DAY)
    waiting = [
        Item('d"ü%_', "", 1, "aa", Platform.FCM, attempts=1, doubts=1),
        Item("d2", "d1", 1, "aa", Platform.FCM, unsent=1),
    ]
    again = NewBatch(waiting, NOW + DAY, message.options.priority, retry=True)
    tried = result("d1", Outcome.UNKNOWN)
    await store.record([report(batch, tried, done=True, again=(again,))], NOW)
    assert await refused(store, said("d1")) is None
    assert await refused(store, said('d"ü%_')) is None
    assert await refused(store, said("d2")) is MessageNotFound
    assert await refused(store, said("d3")) is MessageNotFound
    assert await counts(store, message) == [(Platform.APNS, SEEN, 1), (Platform.FCM, SEEN, 1)]


async def test_what_a_killed_server_had_begun_is_reported(store: SqlStore) -> None:
    message = await accepted(store, "m1")
    await planned(store, message, ["d1"])
    [batch] = await claimed(store, until=NOW + 1)
    assert await store.start(batch.batch_id, batch.lease, NOW, NOW + 1)
    [again] = await claimed(store, "w2", NOW + 2)
    assert again.interruptions == 1
    assert await refused(store, said()) is None


async def test_what_is_recorded_while_it_is_looked_for_is_found(
    store: SqlStore, other_store: SqlStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = await accepted(store, "m1")
    await planned(store, message, ["d1"])
    [batch] = await claimed(store)
    assert await store.start(batch.batch_id, batch.lease, NOW, NOW + DAY)
    looked = []
    # The first look at the results comes just before they are written, the one at the batches after.
    recorded = handed_over._recorded

    def first_look(connection: object, pairs: object) -> object:
        looked.append(pairs)
        return {} if len(looked) == 1 else recorded(connection, pairs)

    monkeypatch.setattr(handed_over, "_recorded", first_look)
    await other_store.record([report(batch, result("d1"), done=True)], NOW)
    assert await refused(store, said()) is None
    assert len(looked) == 2


async def test_it_is_known_as_long_as_its_message(store: SqlStore, database: Database) -> None:
    message = await completed(store, "m1")
    await store.report(said())
    await store.report(said("d2", DISMISSED))
    end = NOW + 30 * DAY
    while await store.sweep(end - 1, 1):
        pass
    assert len(await counts(store, message)) == 2
    assert await refused(store, said("d2")) is None
    swept = [await store.sweep(end, 2) for _ in range(12)]
    assert max(swept) <= 8
    assert swept[-1] == 0
    assert await refused(store, said()) is MessageNotFound
    for table in ("interactions", "interaction_counts", "results", "messages"):
        left = f"SELECT count(*) FROM {table}"
        assert await database.read(lambda connection, left=left: connection.exec_driver_sql(left).scalar()) == 0

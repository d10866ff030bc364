"""Schedules on both databases: a message waits for its time by the database's clock, and holds nobody up meanwhile."""

import asyncio
import time
from dataclasses import replace

import pytest

from bellhop_server.domain import DAY, HOUR, MINUTE
from bellhop_server.domain.errors import ConcurrentChange
from bellhop_server.domain.message import Message, MessageCounts, MessageState, SendOptions
from bellhop_server.domain.notification import Priority
from bellhop_server.domain.planning import AudiencePage
from bellhop_server.store.database import Database
from bellhop_server.store.sql_store import SqlStore
from tests.contract.backstage import Backstage
from tests.contract.messaging import APP, accepted, send

# How long a step of a test may take at most.
SLOW = 10 * MINUTE


def clock() -> int:
    """PostgreSQL has a clock of its own, so these tests go by the real one."""
    return time.time_ns() // 1000


async def scheduled(store: SqlStore, message_id: str, ahead: int, priority: Priority = Priority.NORMAL) -> Message:
    now = clock()
    asked = send(priority=priority, schedule_time=now + ahead)
    return (await store.accept(asked, "mark", message_id, now)).message


async def states(store: SqlStore) -> dict[str, MessageState]:
    return {each.message_id: each.state for each in await store.list_messages(APP, (), None, None, None, 99)}


def has_come(backstage: Backstage, *message_ids: str) -> None:
    """Their time is now over: the first one's the longest."""
    for place, message_id in enumerate(message_ids):
        backstage.execute(f"UPDATE messages SET fire_time = {1000 + place} WHERE message_id = '{message_id}'")


async def test_a_scheduled_message_is_read_as_it_was_accepted(store: SqlStore) -> None:
    now = clock()
    options = SendOptions(ttl=3 * HOUR, schedule_time=now + DAY)
    taken = (await store.accept(replace(send("r1"), options=options), "mark", "m1", now)).message
    assert (taken.state, taken.options, taken.fire_time) == (MessageState.SCHEDULED, options, now + DAY)
    assert taken.expire_time == now + DAY + 3 * HOUR
    assert await store.get_message(APP, "m1") == taken
    assert await store.counts([taken.ref]) == {taken.ref: MessageCounts()}


@pytest.mark.parametrize("ahead", [-400 * DAY, -1, 0])
async def test_a_time_in_the_past_is_now(store: SqlStore, ahead: int) -> None:
    taken = await scheduled(store, "m1", ahead)
    assert (taken.state, taken.fire_time) == (MessageState.SENDING, taken.accept_time)
    assert taken.expire_time == taken.accept_time + DAY
    assert await store.get_message(APP, "m1") == taken
    assert [planning.message for planning in await store.unplanned(9)] == [taken]
    assert await store.until_fire(clock()) is None


async def test_what_is_scheduled_is_not_planned(store: SqlStore) -> None:
    message = await scheduled(store, "m1", HOUR)
    assert await store.unplanned(9) == []
    with pytest.raises(ConcurrentChange):
        await store.add_plan(message.ref, "", AudiencePage([], [], None), [], clock())
    assert await store.fire(clock(), 9) == 0
    assert await states(store) == {"m1": MessageState.SCHEDULED}
    listed = await store.list_messages(APP, (MessageState.SCHEDULED,), None, None, None, 9)
    assert [each.message_id for each in listed] == ["m1"]


async def test_the_next_time_is_the_earliest_of_all_priorities(store: SqlStore) -> None:
    assert await store.until_fire(clock()) is None
    await scheduled(store, "m1", 3 * HOUR, Priority.HIGH)
    await scheduled(store, "m2", 2 * HOUR, Priority.NORMAL)
    await scheduled(store, "m3", HOUR, Priority.LOW)
    await accepted(store, "m4", now=clock())
    left = await store.until_fire(clock())
    assert left is not None
    assert HOUR - SLOW <= left <= HOUR


async def test_what_has_its_time_is_fired_the_earliest_first(store: SqlStore, backstage: Backstage) -> None:
    for number, priority in enumerate((Priority.LOW, Priority.HIGH, Priority.NORMAL, Priority.HIGH)):
        await scheduled(store, f"m{number}", DAY, priority)
    has_come(backstage, "m0", "m1", "m2")
    left = await store.until_fire(clock())
    assert left is not None
    assert left < 0
    assert await store.fire(clock(), 2) == 2
    assert [each for each, state in (await states(store)).items() if state is MessageState.SENDING] == ["m1", "m0"]
    assert await store.fire(clock(), 2) == 1
    assert await store.fire(clock(), 2) == 0
    assert [planning.message.message_id for planning in await store.unplanned(9)] == ["m1", "m2", "m0"]
    left = await store.until_fire(clock())
    assert left is not None
    assert left > DAY - SLOW


async def test_postgresql_goes_by_its_own_clock_and_sqlite_by_that_of_its_process(
    store: SqlStore, database: Database
) -> None:
    await scheduled(store, "m1", HOUR)
    wrong = clock() + DAY
    left = await store.until_fire(wrong)
    assert left is not None
    if database.dialect == "postgresql":
        assert left > HOUR - SLOW
        assert await store.fire(wrong, 9) == 0
    else:
        assert left < 0
        assert await store.fire(wrong, 9) == 1


async def test_two_schedulers_fire_each_message_once(
    store: SqlStore, other_store: SqlStore, backstage: Backstage
) -> None:
    ids = [f"m{number:02}" for number in range(40)]
    for message_id in ids:
        await scheduled(store, message_id, DAY)
    has_come(backstage, *ids)
    fired = 0
    while fired < len(ids):
        fired += sum(
            await asyncio.gather(*(each.fire(clock(), 5) for each in (store, other_store, store, other_store)))
        )
    assert fired == len(ids)
    assert set((await states(store)).values()) == {MessageState.SENDING}


@pytest.mark.promise("P8")
async def test_a_repeat_is_a_repeat_before_and_after_its_time(store: SqlStore, backstage: Backstage) -> None:
    now = clock()
    asked = send("r1", schedule_time=now + DAY)
    first = await store.accept(asked, "mark", "m1", now)
    again = await store.accept(asked, "mark", "m2", now + HOUR)
    assert (again.replayed, again.message) == (True, first.message)
    has_come(backstage, "m1")
    await store.fire(clock(), 9)
    late = await store.accept(asked, "mark", "m3", now + 2 * DAY)
    assert (late.replayed, late.message.ref, late.message.state) == (True, first.message.ref, MessageState.SENDING)


@pytest.mark.promise("P12")
async def test_thousands_that_wait_do_not_hide_what_is_to_be_planned(store: SqlStore) -> None:
    now = clock()
    many = [send(priority=Priority.HIGH, schedule_time=now + DAY) for _ in range(3000)]
    await asyncio.gather(*(store.accept(each, "mark", f"s{place}", now) for place, each in enumerate(many)))
    await accepted(store, "low", priority=Priority.LOW, now=now)
    assert [planning.message.message_id for planning in await store.unplanned(16)] == ["low"]

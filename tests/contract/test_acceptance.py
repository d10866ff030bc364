"""Accepting on both databases: once, whoever repeats it from wherever."""

import asyncio

import pytest

from bellhop_server.domain import DAY
from bellhop_server.domain.errors import BellhopError, MessageNotFound, RequestIdReused
from bellhop_server.domain.lanes import Lane, Share
from bellhop_server.domain.message import Audience, AudienceKind, MessageCounts, MessageState, Outcome
from bellhop_server.domain.notification import Priority
from bellhop_server.store.database import Database
from bellhop_server.store.small_audiences import MOST_PLANNED
from bellhop_server.store.sql_store import SqlStore
from tests.contract.messaging import APP, NOW, Known, put_devices, send

pytestmark = pytest.mark.promise("P8")


async def test_a_repeat_is_the_same_message(store: SqlStore) -> None:
    first = await store.accept(send("r1"), "mark", "m1", NOW)
    again = await store.accept(send("r1"), "mark", "m2", NOW + 5)
    assert again.replayed
    assert again.message == first.message
    assert await store.find_send(APP, ["r1"]) == ("mark", "m1")
    with pytest.raises(MessageNotFound):
        await store.get_message(APP, "m2")


async def test_a_repeat_by_message_id_alone(store: SqlStore) -> None:
    first = await store.accept(send(message_id="m1"), "mark", "m1", NOW)
    again = await store.accept(send(message_id="m1"), "mark", "m1", NOW + 5)
    assert (again.replayed, again.message) == (True, first.message)
    with pytest.raises(RequestIdReused) as refused:
        await store.accept(send(message_id="m1"), "other mark", "m1", NOW + 5)
    assert refused.value.metadata == {"request_id": "", "message_id": "m1"}


async def test_other_content_under_the_same_request_id_is_refused(store: SqlStore) -> None:
    await store.accept(send("r1"), "mark", "m1", NOW)
    with pytest.raises(RequestIdReused) as refused:
        await store.accept(send("r1"), "other mark", "m2", NOW)
    assert refused.value.metadata == {"request_id": "r1", "message_id": "m1"}
    assert len(await store.unplanned(10)) == 1


async def test_a_message_id_that_another_request_has_taken_is_refused_and_leaves_nothing(store: SqlStore) -> None:
    await store.accept(send("r1", "m1"), "mark", "m1", NOW)
    for request_id in ("r2", ""):
        with pytest.raises(RequestIdReused) as refused:
            await store.accept(send(request_id, "m1"), "other mark", "m1", NOW)
        assert refused.value.metadata == {"request_id": request_id, "message_id": "m1"}
    # The refused key is free for what it is really meant for.
    assert await store.find_send(APP, ["r2"]) is None
    assert not (await store.accept(send("r2", "m2"), "mark", "m2", NOW)).replayed


@pytest.mark.promise("P8")
@pytest.mark.parametrize("first", [("r1", "m1"), ("", "m1")])
@pytest.mark.parametrize("second", [("r1", "m1"), ("", "m1"), ("r2", "m1")])
async def test_the_same_message_under_either_of_its_ids_is_a_repeat(
    store: SqlStore, first: tuple[str, str], second: tuple[str, str]
) -> None:
    was = await store.accept(send(*first), "mark", "m1", NOW)
    again = await store.accept(send(*second), "mark", "m1", NOW)
    assert again.replayed
    assert again.message.ref == was.message.ref
    assert len(await store.unplanned(10)) == 1


async def test_a_request_id_and_a_message_id_never_meet(store: SqlStore) -> None:
    await store.accept(send("x"), "mark", "m1", NOW)
    other = await store.accept(send("", "x"), "other mark", "x", NOW)
    assert not other.replayed


async def test_without_any_id_every_send_is_another_message(store: SqlStore) -> None:
    first = await store.accept(send(), "mark", "m1", NOW)
    second = await store.accept(send(), "mark", "m2", NOW)
    assert not second.replayed
    assert second.message.ref != first.message.ref


async def test_ids_of_applications_are_apart(store: SqlStore) -> None:
    await store.accept(send("r1", "m1"), "mark", "m1", NOW)
    taken = await store.accept(send("r1", "m1", app_id="other"), "other mark", "m1", NOW)
    assert not taken.replayed
    assert await store.find_send("third", ["r1"]) is None


async def test_a_hundred_repeats_at_once_are_one_message(store: SqlStore) -> None:
    taken = await asyncio.gather(*(store.accept(send("r1"), "mark", f"m{turn}", NOW) for turn in range(100)))
    assert len({accepted.message.ref for accepted in taken}) == 1
    assert [accepted.replayed for accepted in taken].count(False) == 1
    assert len(await store.unplanned(10)) == 1


async def test_a_group_answers_each_member_for_itself(store: SqlStore) -> None:
    await store.accept(send("old", "taken"), "mark", "taken", NOW)
    answers = await asyncio.gather(
        store.accept(send("a"), "mark", "m1", NOW),
        store.accept(send("a"), "mark", "m2", NOW),
        store.accept(send("a"), "other mark", "m3", NOW),
        store.accept(send("b", "taken"), "other mark", "taken", NOW),
        store.accept(send("c"), "mark", "m5", NOW),
        store.accept(send(), "mark", "m6", NOW),
        store.accept(send("old", "taken"), "mark", "taken", NOW),
        return_exceptions=True,
    )
    told = [
        answer if isinstance(answer, BaseException) else (answer.message.message_id, answer.replayed)
        for answer in answers
    ]
    assert told[:2] == [("m1", False), ("m1", True)]
    assert isinstance(told[2], RequestIdReused)
    assert isinstance(told[3], RequestIdReused)
    assert told[4:] == [("m5", False), ("m6", False), ("taken", True)]
    assert await store.find_send(APP, ["b"]) is None


async def test_a_group_in_which_a_taken_message_id_is_repeated(store: SqlStore) -> None:
    await store.accept(send("old", "taken"), "mark", "taken", NOW)
    answers = await asyncio.gather(
        *(store.accept(send("b", "taken"), "other mark", "taken", NOW) for _ in range(3)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [RequestIdReused] * 3


async def test_repeats_in_two_processes_are_one_message_each(store: SqlStore, other_store: SqlStore) -> None:
    keys = [f"r{number}" for number in range(50)]

    async def send_all(to: SqlStore, prefix: str, order: list[str]) -> list[tuple[str, int, bool]]:
        taken = await asyncio.gather(*(to.accept(send(key), "mark", f"{prefix}{key}", NOW) for key in order))
        return [(key, each.message.ref, each.replayed) for key, each in zip(order, taken, strict=True)]

    told = await asyncio.gather(
        send_all(store, "a", keys),
        send_all(other_store, "b", keys[::-1]),
        send_all(store, "c", keys[25:] + keys[:25]),
    )
    for key in keys:
        mine = [(ref, replayed) for answers in told for name, ref, replayed in answers if name == key]
        assert len({ref for ref, _ in mine}) == 1
        assert [replayed for _, replayed in mine].count(False) == 1
    assert len(await store.unplanned(100)) == len(keys)


async def test_accepting_while_the_database_is_away_takes_nothing(store: SqlStore, database: Database) -> None:
    await database.aclose()
    with pytest.raises(BellhopError):
        await store.accept(send("r1"), "mark", "m1", NOW)


async def test_a_small_audience_is_planned_as_the_message_is_accepted(store: SqlStore, database: Database) -> None:
    await put_devices(database, [Known("d1", "ann"), Known("d2", "ann"), Known("d3", "bob")])
    audience = Audience(AudienceKind.USERS, ("ann", "cleo"))

    accepted = await store.accept(send("r1", "m1", audience=audience), "mark", "m1", NOW)

    ref = accepted.message.ref
    assert accepted.message.state is MessageState.SENDING
    assert accepted.plan is not None
    assert [(result.user_id, result.outcome) for result in accepted.plan.results] == [("cleo", Outcome.NOT_REGISTERED)]
    assert await store.unplanned(9) == []
    assert await store.counts([ref]) == {ref: MessageCounts(device_count=2, planned=True, not_registered_count=1)}
    [batch] = await store.claim("w", NOW, NOW + DAY, [Share(Lane(APP, Priority.NORMAL), 9, 9)], [])
    assert [item.device_id for item in batch.items] == ["d1", "d2"]
    again = await store.accept(send("r1", "m1", audience=audience), "mark", "m1", NOW)
    assert (again.replayed, again.plan, again.message.ref) == (True, None, ref)


async def test_a_small_audience_of_nobody_completes_the_message_at_once(store: SqlStore) -> None:
    audience = Audience(AudienceKind.DEVICES, ("ghost",))

    accepted = await store.accept(send("r1", "m1", audience=audience), "mark", "m1", NOW)

    assert accepted.message.state is MessageState.COMPLETED
    assert accepted.plan is not None
    assert accepted.plan.completed
    assert await store.get_message(APP, "m1") == accepted.message


async def test_many_small_audiences_in_one_group_have_plans_of_their_own(store: SqlStore, database: Database) -> None:
    await put_devices(database, [Known(f"d{place}", f"u{place}") for place in range(20)])
    sends = [send("", f"m{place}", audience=Audience(AudienceKind.USERS, (f"u{place % 20}",))) for place in range(40)]

    taken = await asyncio.gather(*(store.accept(each, "mark", each.message_id, NOW) for each in sends))

    assert all(each.plan is not None and not each.plan.completed for each in taken)
    counts = await store.counts([each.message.ref for each in taken])
    assert all(each.device_count == 1 for each in counts.values())
    assert len(counts) == 40


async def test_a_user_with_more_devices_than_a_page_is_left_to_the_planner(store: SqlStore, database: Database) -> None:
    await put_devices(database, [Known(f"d{place:05}", "robot") for place in range(MOST_PLANNED + 1)])

    accepted = await store.accept(
        send("r1", "m1", audience=Audience(AudienceKind.USERS, ("robot",))), "mark", "m1", NOW
    )

    assert accepted.plan is None
    assert [planning.message.message_id for planning in await store.unplanned(9)] == ["m1"]

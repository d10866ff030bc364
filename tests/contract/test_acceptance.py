"""Accepting on both databases: once, whoever repeats it from wherever."""

import asyncio

import pytest

from bellhop_server.domain.errors import BellhopError, MessageNotFound, RequestIdReused
from bellhop_server.store.database import Database
from bellhop_server.store.sql_store import SqlStore
from tests.contract.messaging import APP, NOW, send

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

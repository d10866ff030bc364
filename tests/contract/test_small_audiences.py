"""Small audiences resolved together are what each is by itself; so are starts and fence reads that share a group."""

import asyncio
import random
from collections.abc import Sequence
from functools import partial

import pytest

from bellhop_server.domain.device import DeviceState, Platform
from bellhop_server.domain.errors import Overloaded, RequestIdReused
from bellhop_server.domain.message import Audience, AudienceKind, MessageState
from bellhop_server.domain.planning import AudiencePage
from bellhop_server.store import small_audiences
from bellhop_server.store.audience import audience_page
from bellhop_server.store.database import Database
from bellhop_server.store.small_audiences import MOST_PLANNED, resolve
from bellhop_server.store.sql_store import SqlStore
from tests.contract.messaging import (
    APP,
    LEASE,
    NOW,
    Known,
    accepted,
    claimed,
    completed,
    planned,
    put_devices,
    results_of,
    send,
)

OTHER = "other"


def crowd(chance: random.Random) -> list[Known]:
    """In each of two applications forty devices of twelve users and of nobody, on three networks, in all states."""
    return [
        Known(
            f"d{number:02}",
            chance.choice([None, *(f"u{user:02}" for user in range(12))]),
            chance.choice(list(Platform)),
            chance.choice([DeviceState.ACTIVE, DeviceState.ACTIVE, *DeviceState]),
            number + 1,
            app_id,
        )
        for app_id in (APP, OTHER)
        for number in range(40)
    ]


def audience(chance: random.Random) -> Audience:
    users = [f"u{user:02}" for user in range(15)]
    if chance.random() < 0.6:
        kind, ids = AudienceKind.USERS, users
    else:
        kind, ids = AudienceKind.DEVICES, [f"d{number:02}" for number in range(45)]
    return Audience(
        kind,
        tuple(chance.choices(ids, k=chance.choice((1, 1, 2, 6)))),
        tuple(chance.sample(list(Platform), chance.choice((0, 0, 1, 2)))),
        tuple(chance.sample(users, chance.choice((0, 0, 3)))),
    )


def content(page: AudiencePage) -> tuple[list[object], list[object], str | None]:
    return [*map(repr, page.items)], [*map(repr, page.missing)], page.after


@pytest.mark.parametrize("most_shared", [3, 2000])
async def test_together_as_each_by_itself(
    database: Database, monkeypatch: pytest.MonkeyPatch, most_shared: int
) -> None:
    """Also where one statement reads so few devices that most messages have to read their own."""
    monkeypatch.setattr(small_audiences, "_MOST_SHARED", most_shared)
    monkeypatch.setattr(small_audiences, "USER_WINDOW", 5)
    chance = random.Random(7)
    await put_devices(database, crowd(chance))
    small = {ref: (chance.choice((APP, OTHER)), audience(chance)) for ref in range(300)}

    together = await database.read(lambda connection: resolve(connection, small, NOW))

    assert together.keys() == small.keys()
    planned_items = [item for page in together.values() for item in page.items]
    assert len({id(item) for item in planned_items}) == len(planned_items) > 100
    for ref, (app_id, each) in small.items():
        page = partial(audience_page, app_id=app_id, audience=each, after="", limit=MOST_PLANNED, now=NOW)
        alone = await database.read(page)
        assert content(together[ref]) == content(alone), each


async def test_those_with_too_many_devices_are_left_out_alone(database: Database) -> None:
    await put_devices(database, [Known(f"d{place:05}", "robot") for place in range(MOST_PLANNED + 1)])
    await put_devices(database, [Known("phone", "anna")])
    audiences = [("anna",), ("robot",), ("anna", "robot"), ("nobody",)]
    small = {ref: (APP, Audience(AudienceKind.USERS, ids)) for ref, ids in enumerate(audiences)}

    found = await database.read(lambda connection: resolve(connection, small, NOW))

    assert found.keys() == {0, 3}
    assert [item.device_id for item in found[0].items] == ["phone"]
    assert [each.user_id for each in found[3].missing] == ["nobody"]


async def test_many_are_accepted_with_few_commits(
    store: SqlStore, database: Database, commits: Sequence[object]
) -> None:
    await put_devices(database, [Known("d1", "anna")])
    known = await completed(store, "known", request_id="k")
    before = len(commits)
    heard = []
    asked = {
        "first": send("r1", audience=Audience(AudienceKind.USERS, ("anna",))),
        "gone": send("r2", audience=Audience(AudienceKind.USERS, ("gone",))),
        "crowd": send("r3"),
        "again": send("r1", audience=Audience(AudienceKind.USERS, ("anna",))),
        "other": send("r1", title="Other"),
        "known": send("k"),
        "named": send("r4", "known"),
    }
    marks = {"other": "some mark", "named": "some mark"}
    found = await store.accept_many(
        [
            (each, marks.get(name, "mark"), each.message_id or f"m{place}")
            for place, (name, each) in enumerate(asked.items())
        ],
        NOW,
        lambda new: heard.append(new.message.message_id),
    )

    assert len(commits) - before == 1
    assert heard == ["m0", "m1", "m2"]
    first, gone, everyone, again, other, repeat, named = found
    assert not isinstance(first, Exception)
    assert not isinstance(gone, Exception)
    assert not isinstance(everyone, Exception)
    assert not isinstance(again, Exception)
    assert not isinstance(repeat, Exception)
    assert first.message == await store.get_message(APP, "m0")
    assert first.plan is not None
    assert not first.plan.completed
    assert gone.message.state is MessageState.COMPLETED
    assert gone.message == await store.get_message(APP, "m1")
    assert gone.plan is not None
    assert [(1, each) for each in gone.plan.results] == await results_of(store, gone.message)
    assert everyone.plan is None
    assert (again.replayed, again.message.ref) == (True, first.message.ref)
    assert (repeat.replayed, repeat.message.ref) == (True, known.ref)
    assert isinstance(other, RequestIdReused)
    assert isinstance(named, RequestIdReused)


async def test_what_finds_no_room_is_refused_by_itself(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store._acceptances, "_waiting_limit", 2)
    found = await store.accept_many([(send(f"r{n}"), "mark", f"m{n}") for n in range(4)], NOW, lambda _: None)

    assert [isinstance(each, Overloaded) for each in found] == [False, False, True, True]
    assert [each.message_id for each in await store.list_messages(APP, (), None, None, None, 9)] == ["m1", "m0"]


async def test_whoever_gives_up_has_nothing_written_that_had_not_begun(store: SqlStore, database: Database) -> None:
    asking = asyncio.create_task(
        store.accept_many([(send(f"r{n}"), "mark", f"m{n}") for n in range(4)], NOW, lambda _: None)
    )
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await accepted(store, "after")

    assert [each.message_id for each in await store.list_messages(APP, (), None, None, None, 9)] == ["after"]


async def test_starts_that_share_a_group_have_answers_of_their_own(store: SqlStore) -> None:
    message = await accepted(store)
    await planned(store, message, ["a"], ["b"], ["c"], ["d"])
    one, two, three, four = sorted(await claimed(store), key=lambda batch: batch.batch_id)
    late = LEASE + 1
    answers = await asyncio.gather(
        store.start(four.batch_id, four.lease, NOW, late),
        store.start(one.batch_id, "another lease", NOW, late),
        store.start(two.batch_id, two.lease, LEASE, late),
        store.start(three.batch_id, three.lease, NOW, late),
        store.start(99, one.lease, NOW, late),
    )

    assert answers == [True, False, False, True, False]
    [again] = [each for each in await claimed(store, now=LEASE) if each.batch_id == two.batch_id]
    assert not again.in_doubt
    taken = [each for each in await claimed(store, now=late) if each.batch_id in (three.batch_id, four.batch_id)]
    assert [each.in_doubt for each in taken] == [True, True]


async def test_fence_reads_that_share_a_group_are_of_their_own_application_and_message(
    store: SqlStore, database: Database
) -> None:
    await put_devices(database, [Known("d1", "anna"), Known("d1", "bob", app_id=OTHER), Known("d2", "carl")])
    message = await accepted(store, "m1")
    cancelled = await accepted(store, "m2")
    await store.cancel(APP, "m2", NOW)
    mine, other, none = await asyncio.gather(
        store.read_present(APP, message.ref, ["d1", "d2"]),
        store.read_present(OTHER, cancelled.ref, ["d1"]),
        store.read_present(OTHER, message.ref, []),
    )

    assert {key: found.user_id for key, found in mine.devices.items()} == {"d1": "anna", "d2": "carl"}
    assert other.devices["d1"].user_id == "bob"
    assert "d2" not in other.devices
    assert [each.cancelled for each in (mine, other, none)] == [False, True, False]

"""Whom a message is for, on both databases: page by page, each device once."""

import random
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bellhop_server.domain.batch import Item
from bellhop_server.domain.device import DeviceState, Platform, user_key
from bellhop_server.domain.message import Audience, AudienceKind, Result
from bellhop_server.store.database import Database
from bellhop_server.store.sql_store import SqlStore
from tests.contract.messaging import APP, NOW, Known, missing, put_devices


async def pages(store: SqlStore, audience: Audience, limit: int) -> AsyncIterator[tuple[list[Item], list[Result]]]:
    after: str | None = ""
    while after is not None:
        page = await store.read_audience(APP, audience, after, limit, NOW)
        yield page.items, page.missing
        after = page.after


async def resolve(store: SqlStore, audience: Audience, limit: int = 100) -> tuple[list[Item], list[Result]]:
    items: list[Item] = []
    missing: list[Result] = []
    async for page_items, page_missing in pages(store, audience, limit):
        items += page_items
        missing += page_missing
    return items, missing


def ids(items: list[Item]) -> list[str]:
    return [item.device_id for item in items]


async def test_everyone_is_every_active_device_in_code_point_order(store: SqlStore, database: Database) -> None:
    there = [
        Known("b", "ann"),
        Known("A", None, Platform.WEB_PUSH, epoch=7),
        Known("ä", "bob"),
        Known("\U0001f600", "bob"),
        Known("\uffff", "bob"),
    ]
    gone = [
        Known("dead", "ann", state=DeviceState.DEAD),
        Known("unverified", None, state=DeviceState.UNVERIFIED),
        Known("elsewhere", "ann", app_id="other"),
    ]
    await put_devices(database, there + gone)
    items, missing_ids = await resolve(store, Audience(AudienceKind.EVERYONE))
    assert items == [known.item for known in sorted(there, key=lambda known: known.device_id)]
    assert missing_ids == []


async def test_everyone_without_a_device_is_one_empty_page(store: SqlStore) -> None:
    page = await store.read_audience(APP, Audience(AudienceKind.EVERYONE), "", 10, NOW)
    assert (page.items, page.missing, page.after) == ([], [], None)


async def test_platforms_and_exclusions_hold_for_everyone(store: SqlStore, database: Database) -> None:
    await put_devices(
        database,
        [
            Known("d1", "ann"),
            Known("d2", "bob"),
            Known("d3", None),
            Known("d4", "ann", Platform.FCM),
            Known("d5", None, Platform.WEB_PUSH),
        ],
    )
    audience = Audience(
        AudienceKind.EVERYONE, platforms=(Platform.APNS, Platform.WEB_PUSH), exclude_user_ids=("bob", "x\0")
    )
    for limit in (1, 2, 100):
        assert ids((await resolve(store, audience, limit))[0]) == ["d1", "d3", "d5"]


async def test_named_devices_say_why_they_cannot_be_reached(store: SqlStore, database: Database) -> None:
    await put_devices(
        database,
        [
            Known("dead", "ann", state=DeviceState.DEAD),
            Known("fcm", "ann", Platform.FCM),
            Known("fine", "ann"),
            Known("anonymous"),
            Known("hidden", "bob"),
            Known("hidden-dead", "bob", state=DeviceState.DEAD),
            Known("unverified", None, state=DeviceState.UNVERIFIED),
            Known("unnamed", "ann"),
        ],
    )
    named = ("unverified", "nobody", "hidden", "hidden-dead", "fine", "fine", "fcm", "dead", "anonymous")
    audience = Audience(AudienceKind.DEVICES, named, platforms=(Platform.APNS,), exclude_user_ids=("bob",))
    for limit in (1, 3, 100):
        items, missing_ids = await resolve(store, audience, limit)
        assert items == [Known("anonymous").item, Known("fine", "ann").item]
        assert missing_ids == [
            missing("dead", reason="DeviceDead"),
            missing("fcm", reason="PlatformExcluded"),
            missing("nobody", reason="UnknownDevice"),
            missing("unverified", reason="DeviceUnverified"),
        ]


async def test_named_users_have_all_their_devices_or_are_missing(store: SqlStore, database: Database) -> None:
    await put_devices(
        database,
        [
            *(Known(f"a{number}", "ann") for number in range(7)),
            Known("b1", "bob"),
            Known("c1", "cyd", state=DeviceState.DEAD),
            Known("d1", "dan", Platform.FCM),
            Known("e1", "eve"),
            Known("z1"),
        ],
    )
    audience = Audience(
        AudienceKind.USERS,
        ("bob", "ann", "cyd", "dan", "eve", "fay", "ann"),
        platforms=(Platform.APNS,),
        exclude_user_ids=("eve",),
    )
    for limit in (1, 2, 3, 7, 8, 9, 100):
        items, missing_ids = await resolve(store, audience, limit)
        assert sorted(ids(items)) == [*(f"a{number}" for number in range(7)), "b1"]
        assert sorted(result.user_id for result in missing_ids) == ["cyd", "dan", "fay"]
        assert {(result.device_id, result.reason) for result in missing_ids} == {("", "NoDevice")}


async def test_users_differ_by_code_point(store: SqlStore, database: Database) -> None:
    await put_devices(database, [Known("d1", "\u00e9"), Known("d2", "e\u0301"), Known("d3", "E"), Known("d4", "e ")])
    audience = Audience(AudienceKind.USERS, ("e\u0301", "e"))
    items, missing_ids = await resolve(store, audience)
    assert ids(items) == ["d2"]
    assert [result.user_id for result in missing_ids] == ["e"]


async def test_what_comes_between_two_pages_is_in_if_its_place_is_still_ahead(
    store: SqlStore, database: Database
) -> None:
    users = sorted((f"u{number}" for number in range(4)), key=user_key)
    await put_devices(database, [Known(f"d-{user}", user) for user in users])
    audience = Audience(AudienceKind.USERS, tuple(users))
    first = await store.read_audience(APP, audience, "", 1, NOW)
    assert ids(first.items) == [f"d-{users[0]}"]
    assert first.after is not None
    await put_devices(database, [Known("behind", users[0]), Known("e-ahead", users[0]), Known("last", users[-1])])
    second = await store.read_audience(APP, audience, first.after, 100, NOW)
    assert ids(second.items) == ["e-ahead", *(f"d-{user}" for user in users[1:]), "last"]
    assert second.missing == []


async def test_a_user_who_loses_the_rest_of_the_devices_is_not_missing(store: SqlStore, database: Database) -> None:
    await put_devices(database, [Known("a1", "ann"), Known("a2", "ann")])
    audience = Audience(AudienceKind.USERS, ("ann",))
    first = await store.read_audience(APP, audience, "", 1, NOW)
    assert (ids(first.items), first.missing) == (["a1"], [])
    await database.write(lambda connection: connection.exec_driver_sql("DELETE FROM devices WHERE device_id = 'a2'"))
    assert first.after is not None
    second = await store.read_audience(APP, audience, first.after, 1, NOW)
    assert (second.items, second.missing, second.after) == ([], [], None)


async def test_ten_thousand_named_users_with_devices_spread(store: SqlStore, database: Database) -> None:
    spread = random.Random(5)
    known = [Known(f"d{number:05}", f"u{spread.randrange(12_000)}") for number in range(15_000)]
    await put_devices(database, known)
    named = [f"u{number}" for number in range(10_000)]
    spread.shuffle(named)
    items, missing_ids = await resolve(store, Audience(AudienceKind.USERS, tuple(named)), 5_000)
    wanted = set(named)
    reached = [each for each in known if each.user_id in wanted]
    assert sorted(ids(items)) == [each.device_id for each in reached]
    assert {result.user_id for result in missing_ids} == wanted - {each.user_id for each in reached}
    assert len(missing_ids) == len({result.user_id for result in missing_ids})


async def test_ten_thousand_named_devices(store: SqlStore, database: Database) -> None:
    await put_devices(database, [Known(f"d{number:05}") for number in range(0, 10_000, 2)])
    named = tuple(f"d{number:05}" for number in reversed(range(10_000)))
    items, missing_ids = await resolve(store, Audience(AudienceKind.DEVICES, named), 5_000)
    assert ids(items) == [f"d{number:05}" for number in range(0, 10_000, 2)]
    assert [result.device_id for result in missing_ids] == [f"d{number:05}" for number in range(1, 10_000, 2)]


USERS = ("", "ann", "bob", "cyd", "dan", "eve")


@pytest.mark.parametrize("kind", [kind for kind in AudienceKind if kind is not AudienceKind.TAGS])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    owners=st.lists(
        st.tuples(st.sampled_from(USERS), st.sampled_from(DeviceState), st.sampled_from(Platform)), max_size=12
    ),
    limit=st.integers(1, 13),
    platforms=st.sets(st.sampled_from(Platform)),
    excluded=st.sets(st.sampled_from(USERS[1:])),
    named=st.sets(st.integers(0, 14), min_size=1),
)
async def test_any_page_size_yields_each_device_once(
    store: SqlStore,
    database: Database,
    kind: AudienceKind,
    owners: list[tuple[str, DeviceState, Platform]],
    limit: int,
    platforms: set[Platform],
    excluded: set[str],
    named: set[int],
) -> None:
    await database.write(lambda connection: connection.exec_driver_sql("DELETE FROM devices"))
    known = [
        Known(f"d{number}", user or None, platform, state) for number, (user, state, platform) in enumerate(owners)
    ]
    await put_devices(database, known)
    names = {
        AudienceKind.EVERYONE: (),
        AudienceKind.DEVICES: tuple(f"d{number}" for number in named),
        AudienceKind.USERS: tuple(f"u{number}" if number > 5 else USERS[number] or "fay" for number in named),
    }[kind]
    audience = Audience(kind, names, tuple(platforms), tuple(excluded))

    async for page_items, page_missing in pages(store, audience, limit):
        assert len(page_items) <= limit
        assert len(page_missing) <= limit
    items, missing_ids = await resolve(store, audience, limit)

    addressed = [
        each
        for each in known
        if kind is AudienceKind.EVERYONE or (each.device_id if kind is AudienceKind.DEVICES else each.user_id) in names
    ]
    reached = [
        each
        for each in addressed
        if each.state is DeviceState.ACTIVE
        and each.user_id not in excluded
        and (not platforms or each.platform in platforms)
    ]
    assert sorted(ids(items)) == sorted(each.device_id for each in reached)
    if kind is AudienceKind.USERS:
        expected = set(names) - excluded - {each.user_id for each in reached}
        assert sorted(result.user_id for result in missing_ids) == sorted(expected)
    elif kind is AudienceKind.DEVICES:
        hidden = {each.device_id for each in known if each.user_id in excluded}
        expected = set(names) - hidden - {each.device_id for each in reached}
        assert sorted(result.device_id for result in missing_ids) == sorted(expected)
    else:
        assert missing_ids == []

"""Tags and subscriptions on both databases: who has one, what becomes of it, and whom it reaches."""

import asyncio
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bellhop_server.domain import DAY
from bellhop_server.domain.device import DeviceState, Platform
from bellhop_server.domain.errors import (
    DeviceNotFound,
    QuotaExceeded,
    TagAlreadyExists,
    TagNotFound,
)
from bellhop_server.domain.message import Audience, AudienceKind
from bellhop_server.domain.query import DeviceQuery
from bellhop_server.domain.registration import Unregister, UnregisterUser
from bellhop_server.domain.tag import (
    REMOVED_LIFE,
    Subscriber,
    SubscriptionChange,
    SubscriptionOutcome,
    SubscriptionQuery,
    Tag,
)
from bellhop_server.store import subscriptions as subscriptions_module
from bellhop_server.store import tags as tags_module
from bellhop_server.store.database import Database
from bellhop_server.store.sql_store import SqlStore
from tests.contract.registry_commands import AUTHORITY, create_applications, register

CREATED, EXISTED, REMOVED = SubscriptionOutcome.CREATED, SubscriptionOutcome.EXISTED, SubscriptionOutcome.REMOVED
NOT_SUBSCRIBED, TAG_NOT_FOUND = SubscriptionOutcome.NOT_SUBSCRIBED, SubscriptionOutcome.TAG_NOT_FOUND


@pytest.fixture(autouse=True)
async def applications(store: SqlStore) -> None:
    await create_applications(store)


async def make(store: SqlStore, *names: str, app: str = "shop") -> None:
    for name in names:
        await store.create_tag(Tag(app, name, "", 1, 1))


def device(name: str) -> Subscriber:
    return Subscriber("shop", device_id=name)


def user(name: str) -> Subscriber:
    return Subscriber("shop", user_id=name)


def outcomes(changes: list[SubscriptionChange]) -> list[SubscriptionOutcome]:
    return [change.outcome for change in changes]


async def reached(store: SqlStore, *names: str, now: int = 5_000, limit: int = 3) -> list[str]:
    """Devices in the order in which pages of that size have them."""
    audience, after, found = Audience(AudienceKind.TAGS, names), "", []
    while True:
        page = await store.read_audience("shop", audience, after, limit, now)
        assert not page.missing
        found += [item.device_id for item in page.items]
        if page.after is None:
            return found
        after = page.after


async def test_each_tag_is_answered_by_itself(store: SqlStore) -> None:
    await make(store, "news", "sport")
    await store.execute(register("phone", "ann", "t"))
    assert outcomes(await store.subscribe(device("phone"), ["news", "nothing", "sport"], 10)) == [
        CREATED,
        TAG_NOT_FOUND,
        CREATED,
    ]
    first, second = await store.subscribe(device("phone"), ["sport", "news"], 20)
    assert (first.outcome, second.outcome) == (EXISTED, EXISTED)
    assert first.subscription is not None
    assert (first.subscription.create_time, len(first.subscription.subscription_id)) == (10, 32)
    assert outcomes(await store.unsubscribe(device("phone"), ["nothing", "news"], 30)) == [TAG_NOT_FOUND, REMOVED]
    assert outcomes(await store.unsubscribe(device("phone"), ["news"], 40)) == [NOT_SUBSCRIBED]
    (again,) = await store.subscribe(device("phone"), ["news"], 50)
    assert again.subscription is not None
    assert (again.outcome, again.subscription.create_time) == (CREATED, 50)


async def test_a_device_that_is_not_there_cannot_subscribe(store: SqlStore) -> None:
    await make(store, "news")
    for call in (store.subscribe, store.unsubscribe):
        with pytest.raises(DeviceNotFound):
            await call(device("phone"), ["news"], 10)


async def test_tags_of_another_application_are_none(store: SqlStore) -> None:
    await make(store, "news", app="bank")
    assert outcomes(await store.subscribe(user("ann"), ["news"], 10)) == [TAG_NOT_FOUND]
    with pytest.raises(TagNotFound):
        await store.get_tag("shop", "news")


async def test_a_tag_is_made_once_and_goes_with_its_subscriptions(store: SqlStore) -> None:
    await make(store, "news")
    with pytest.raises(TagAlreadyExists):
        await make(store, "news")
    await store.subscribe(user("ann"), ["news"], 10)
    assert await store.count_subscriptions("shop", ["news", "no"]) == {"news": 1, "no": 0}
    assert await store.delete_tag("shop", "news", 50)
    assert not await store.delete_tag("shop", "news", 50)
    await make(store, "news")
    assert await store.count_subscriptions("shop", ["news"]) == {"news": 0}
    assert outcomes(await store.unsubscribe(user("ann"), ["news"], 20)) == [NOT_SUBSCRIBED]


async def test_what_a_broken_deletion_left_does_not_come_back(store: SqlStore, database: Database) -> None:
    await make(store, "news")
    await store.subscribe(user("ann"), ["news"], 10)
    await database.write(lambda connection: connection.exec_driver_sql("DELETE FROM tags"))
    await make(store, "news")
    assert await store.count_subscriptions("shop", ["news"]) == {"news": 0}


async def test_limits(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tags_module, "TAGS", 3)
    monkeypatch.setattr(subscriptions_module, "SUBSCRIPTIONS", 2)
    await make(store, "a", "b", "c")
    with pytest.raises(QuotaExceeded):
        await make(store, "d")
    assert [tag.tag_name for tag in await store.list_tags("shop", "", 10)] == ["a", "b", "c"]
    await store.subscribe(user("ann"), ["a"], 10)
    with pytest.raises(QuotaExceeded):
        await store.subscribe(user("ann"), ["b", "c"], 10)
    assert outcomes(await store.subscribe(user("ann"), ["a", "b"], 10)) == [EXISTED, CREATED]


async def test_two_who_subscribe_at_once(store: SqlStore, other_store: SqlStore) -> None:
    await make(store, "news")
    calls = [each.subscribe(user("ann"), ["news"], 10) for each in (store, other_store) * 4]
    found = [change.outcome for changes in await asyncio.gather(*calls) for change in changes]
    assert sorted(found) == [CREATED, *[EXISTED] * 7]


async def test_a_device_keeps_its_own_and_a_user_takes_theirs_along(store: SqlStore) -> None:
    await make(store, "news")
    await store.execute(register("phone", "ann", "t1"))
    await store.execute(register("tablet", "ben", "t2"))
    await store.subscribe(device("phone"), ["news"], 10)
    await store.subscribe(user("ben"), ["news"], 10)
    assert await reached(store, "news") == ["phone", "tablet"]
    await store.execute(register("phone", "cid", "t1"))
    await store.execute(register("tablet", "cid", "t2"))
    assert await reached(store, "news") == ["phone"]
    await store.execute(register("new", "ben", "t3"))
    assert await reached(store, "news") == ["phone", "new"]
    await store.execute(Unregister("shop", "phone", AUTHORITY, 2_000))
    await store.execute(register("phone", "ann", "t1", now=3_000))
    assert await reached(store, "news") == ["new"]


async def test_the_subscriptions_of_a_device_whose_target_is_taken_go(store: SqlStore) -> None:
    await make(store, "news")
    await store.execute(register("old", "ann", "t"))
    await store.subscribe(device("old"), ["news"], 10)
    await store.execute(register("new", "ann", "t"))
    assert await store.count_subscriptions("shop", ["news"]) == {"news": 0}
    # One that merely changes its own target keeps them.
    await store.subscribe(device("new"), ["news"], 10)
    await store.execute(register("new", "ann", "u"))
    assert await store.count_subscriptions("shop", ["news"]) == {"news": 1}


async def test_who_changes_over_between_the_phases_is_found_once(store: SqlStore) -> None:
    """By the device first; without its own subscription, it would be found by its user once more."""
    await make(store, "news")
    for name in ("a", "b"):
        await store.execute(register(name, "ann", name))
    await store.subscribe(device("a"), ["news"], 10)
    await store.subscribe(user("ann"), ["news"], 10)
    audience = Audience(AudienceKind.TAGS, ("news",))
    first = await store.read_audience("shop", audience, "", 1, 5_000)
    assert [item.device_id for item in first.items] == ["a"]
    await store.unsubscribe(device("a"), ["news"], 5_001)
    assert first.after is not None
    found, after = ["a"], first.after
    while after is not None:
        page = await store.read_audience("shop", audience, after, 1, 5_002)
        found += [item.device_id for item in page.items]
        after = page.after
    assert found == ["a", "b"]
    await store.subscribe(device("a"), ["news"], 5_003)
    assert await reached(store, "news", now=6_000) == ["a", "b"]


async def test_items_say_by_whom_they_were_found(store: SqlStore) -> None:
    await make(store, "news")
    await store.execute(register("own", "ann", "t1"))
    await store.execute(register("theirs", "ben", "t2"))
    await store.subscribe(device("own"), ["news"], 10)
    await store.subscribe(user("ben"), ["news"], 10)
    audience = Audience(AudienceKind.TAGS, ("news",))
    first = await store.read_audience("shop", audience, "", 10, 5_000)
    assert [(item.device_id, item.by_user) for item in first.items] == [("own", False)]
    second = await store.read_audience("shop", audience, str(first.after), 10, 5_000)
    assert [(item.device_id, item.by_user) for item in second.items] == [("theirs", True)]


async def test_lists_of_subscriptions_and_devices(store: SqlStore) -> None:
    await make(store, "news", "sport")
    await store.execute(register("phone", "ann", "t1"))
    await store.execute(register("other", None, "t2"))
    await store.subscribe(device("phone"), ["news"], 10)
    await store.subscribe(user("ann"), ["sport"], 10)
    await store.subscribe(user("ben"), ["news"], 10)

    async def listed(**filters: str) -> set[tuple[str, str]]:
        found = await store.list_subscriptions(SubscriptionQuery("shop", 5_000, **filters), "", 100)
        return {(each.tag_name, each.subscriber.device_id or each.subscriber.user_id) for each in found}

    assert await listed() == {("news", "phone"), ("sport", "ann"), ("news", "ben")}
    assert await listed(device_id="phone") == {("news", "phone"), ("sport", "ann")}
    assert await listed(user_id="ben") == {("news", "ben")}
    assert await listed(tag_name="sport") == {("sport", "ann")}
    of_ben = user("ben").subscription_id("news")
    assert await listed(subscription_id=of_ben) == {("news", "ben")}
    for tag_name, names in (("news", ["phone"]), ("sport", ["phone"]), ("none", []), ("Push.ALL", ["other", "phone"])):
        found = await store.list_devices(DeviceQuery("shop", 5_000, tag_name=tag_name), "", 100)
        assert [each.device_id for each in found] == names
    await store.execute(UnregisterUser("shop", "ann", 6_000))
    assert await store.list_devices(DeviceQuery("shop", 7_000, tag_name="sport"), "", 100) == []


async def test_what_has_ended_is_forgotten_in_the_end(store: SqlStore, database: Database) -> None:
    await make(store, "news")
    await store.subscribe(user("ann"), ["news"], DAY)
    await store.unsubscribe(user("ann"), ["news"], 2 * DAY)
    await store.sweep(2 * DAY + REMOVED_LIFE - 1, 100)

    async def rows() -> int:
        return await database.read(
            lambda connection: connection.exec_driver_sql("SELECT count(*) FROM subscriptions").scalar_one()
        )

    assert await rows() == 1
    await store.sweep(2 * DAY + REMOVED_LIFE, 100)
    assert await rows() == 0


NAMES, PEOPLE, TAGS = ("d0", "d1", "d2", "d3", "d4", "d5"), ("ann", "ben", "cid"), ("a", "b")
_numbers = count()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    owners=st.lists(st.sampled_from([None, *PEOPLE]), min_size=6, max_size=6),
    own=st.sets(st.tuples(st.sampled_from(NAMES), st.sampled_from(TAGS))),
    theirs=st.sets(st.tuples(st.sampled_from(PEOPLE), st.sampled_from(TAGS))),
    wanted=st.sets(st.sampled_from(TAGS), min_size=1),
    excluded=st.sets(st.sampled_from(PEOPLE)),
    limit=st.integers(1, 8),
)
async def test_any_page_size_finds_each_device_once(
    store: SqlStore,
    database: Database,
    owners: list[str | None],
    own: set[tuple[str, str]],
    theirs: set[tuple[str, str]],
    wanted: set[str],
    excluded: set[str],
    limit: int,
) -> None:
    for table in ("devices", "subscriptions", "tags"):
        await database.write(lambda connection, name=table: connection.exec_driver_sql(f"DELETE FROM {name}"))
    await make(store, *TAGS)
    for name, owner in zip(NAMES, owners, strict=True):
        await store.execute(register(name, owner, f"{name}{next(_numbers)}"))
    for name, tag in own:
        await store.subscribe(device(name), [tag], 10)
    for person, tag in theirs:
        await store.subscribe(user(person), [tag], 10)
    expected = [
        name
        for name, owner in zip(NAMES, owners, strict=True)
        if owner not in excluded and any((name, tag) in own or (owner, tag) in theirs for tag in wanted)
    ]
    audience = Audience(AudienceKind.TAGS, tuple(wanted), (Platform.APNS,), tuple(excluded))
    after: str | None = ""
    found: list[str] = []
    while after is not None:
        page = await store.read_audience("shop", audience, after, limit, 5_000)
        assert len(page.items) <= limit
        found += [item.device_id for item in page.items]
        after = page.after
    assert sorted(found) == expected
    states = await store.list_devices(DeviceQuery("shop", 5_000, states=tuple(DeviceState)), "", 10)
    assert len(states) == len(NAMES)

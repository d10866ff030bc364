"""Whom a tag reaches while everything changes, on both databases: as it was when the reading began, nobody twice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from bellhop_server.domain.batch import Item
from bellhop_server.domain.errors import DeviceNotFound
from bellhop_server.domain.message import Audience, AudienceKind
from bellhop_server.domain.query import DeviceQuery
from bellhop_server.domain.registration import Expire, Unregister
from bellhop_server.domain.tag import Subscriber, SubscriptionOutcome, SubscriptionQuery, Tag
from bellhop_server.store.database import Database
from bellhop_server.store.registry_group import apply_group
from bellhop_server.store.sql_store import SqlStore
from tests.contract.registry_commands import AUTHORITY, create_applications, register, update

CREATED, EXISTED = SubscriptionOutcome.CREATED, SubscriptionOutcome.EXISTED
PHONE, ANN = Subscriber("shop", device_id="phone"), Subscriber("shop", user_id="ann")
BOTH = Audience(AudienceKind.TAGS, ("news", "sport"))


@pytest.fixture(autouse=True)
async def shop(store: SqlStore) -> None:
    await create_applications(store)
    for name in ("news", "sport"):
        await store.create_tag(Tag("shop", name, "", 1, 1))
    await store.execute(register("phone", "ann", "t1"))
    await store.execute(register("tablet", "ben", "t2"))


async def pages(store: SqlStore, audience: Audience, *, limit: int = 10, now: int = 5_000) -> AsyncIterator[list[Item]]:
    after: str | None = ""
    while after is not None:
        page = await store.read_audience("shop", audience, after, limit, now)
        yield page.items
        after = page.after


async def reached(store: SqlStore, *names: str, now: int = 5_000) -> list[str]:
    audience = Audience(AudienceKind.TAGS, names)
    return [item.device_id async for page in pages(store, audience, now=now) for item in page]


Change = Callable[[SqlStore], Awaitable[Any]]


async def end_own(store: SqlStore) -> None:
    await store.unsubscribe(PHONE, ["news"], 6_000)


async def toggle_own(store: SqlStore) -> None:
    await end_own(store)
    await store.subscribe(PHONE, ["news"], 6_001)


async def begin_own(store: SqlStore) -> None:
    await store.subscribe(PHONE, ["sport"], 6_000)


async def delete_tag(store: SqlStore) -> None:
    await store.delete_tag("shop", "news", 6_000)


async def make_tag_anew(store: SqlStore) -> None:
    await delete_tag(store)
    await store.create_tag(Tag("shop", "news", "", 6_001, 6_001))
    await toggle_own(store)


async def come_again(store: SqlStore) -> None:
    await store.execute(Unregister("shop", "phone", AUTHORITY, 6_000))
    await store.execute(register("phone", "ann", "t1", now=6_001))


async def move(store: SqlStore) -> None:
    await store.execute(register("phone", "ann", "elsewhere", now=6_001))


CHANGES = [end_own, toggle_own, begin_own, delete_tag, make_tag_anew, come_again, move]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("own", [True, False])
async def test_a_device_of_a_subscribed_user_is_found_once_whatever_changes(
    store: SqlStore, change: Change, own: bool
) -> None:
    await store.subscribe(ANN, ["sport"], 10)
    if own:
        await store.subscribe(PHONE, ["news"], 10)
    found = []
    async for page in pages(store, BOTH):
        found += [(item.device_id, item.by_user) for item in page]
        if change is not move or len(found) < 2:
            await change(store)
    assert found == [("phone", not own)]


async def test_one_that_has_come_back_before_is_found_by_itself(store: SqlStore) -> None:
    await store.subscribe(PHONE, ["news"], 10)
    await toggle_own(store)
    await store.subscribe(ANN, ["news", "sport"], 10)
    assert [[(item.device_id, item.by_user) for item in page] async for page in pages(store, BOTH)] == [
        [("phone", False)],
        [],
    ]


async def test_a_clock_that_goes_back_hides_nobody(store: SqlStore, other_store: SqlStore) -> None:
    await other_store.subscribe(PHONE, ["news"], 9_000)
    assert await reached(store, "news", now=5_000) == ["phone"]
    await other_store.unsubscribe(PHONE, ["news"], 9_000)
    assert await reached(store, "news", now=5_000) == []


async def test_a_device_that_goes_and_comes_back_within_one_group_is_another_one(
    store: SqlStore, database: Database
) -> None:
    await store.subscribe(PHONE, ["news"], 10)
    commands = [Unregister("shop", "phone", AUTHORITY, 2_000), register("phone", "ann", "t1", now=2_000)]
    await database.write(lambda connection: apply_group(connection, commands))
    assert await store.list_subscriptions(SubscriptionQuery("shop", 3_000), "", 10) == []


async def test_a_binding_that_ends_leaves_the_device_its_own(store: SqlStore) -> None:
    await store.execute(register("phone", "ann", "t1", now=2_000, binding_ttl=500))
    await store.subscribe(PHONE, ["news"], 10)
    await store.subscribe(ANN, ["sport"], 10)
    assert await reached(store, "sport", now=2_499) == ["phone"]
    assert await reached(store, "sport", now=2_500) == []
    assert await reached(store, "news", now=2_500) == ["phone"]
    await store.execute(Expire("shop", ("phone",), 2_500))
    assert await reached(store, "news", now=2_500) == ["phone"]


async def test_the_target_of_a_device_may_change_while_it_subscribes(store: SqlStore, other_store: SqlStore) -> None:
    async def change_targets() -> None:
        for number in range(20):
            await other_store.execute(update("phone", f"t{number + 10}"))

    async def subscribe() -> list[SubscriptionOutcome]:
        found = []
        for number in range(20):
            [change] = await store.subscribe(PHONE, ["news"], number)
            found.append(change.outcome)
        return found

    _, found = await asyncio.gather(change_targets(), subscribe())
    assert found == [CREATED, *[EXISTED] * 19]


async def test_who_subscribes_as_their_device_goes_leaves_nothing(store: SqlStore, other_store: SqlStore) -> None:
    async def subscribe() -> None:
        with suppress(DeviceNotFound):
            await other_store.subscribe(PHONE, ["news"], 10)

    for now in range(2_000, 2_010):
        gone = store.execute(Unregister("shop", "phone", AUTHORITY, now))
        await asyncio.gather(subscribe(), gone, subscribe())
        assert await store.list_subscriptions(SubscriptionQuery("shop", now), "", 10) == []
        await store.execute(register("phone", "ann", "t1", now=now))


async def test_who_subscribes_as_the_tag_goes_leaves_nothing(store: SqlStore, other_store: SqlStore) -> None:
    for now in range(2_000, 2_010):
        await asyncio.gather(
            *(other_store.subscribe(Subscriber("shop", user_id=f"u{number}"), ["news"], now) for number in range(6)),
            store.delete_tag("shop", "news", now),
        )
        assert await store.list_subscriptions(SubscriptionQuery("shop", now), "", 10) == []
        await store.create_tag(Tag("shop", "news", "", now, now))
        assert await store.list_subscriptions(SubscriptionQuery("shop", now), "", 10) == []


async def test_what_a_broken_deletion_left_is_nowhere(store: SqlStore, database: Database) -> None:
    await store.subscribe(PHONE, ["news"], 10)
    await store.subscribe(ANN, ["news"], 10)
    await database.write(lambda connection: connection.exec_driver_sql("DELETE FROM tags WHERE tag_name = 'news'"))
    assert await store.list_subscriptions(SubscriptionQuery("shop", 3_000), "", 10) == []
    assert await store.list_devices(DeviceQuery("shop", 3_000, tag_name="news"), "", 10) == []
    assert await reached(store, "news") == []


async def test_subscriptions_of_a_tag_lie_together(store: SqlStore) -> None:
    for number in range(30):
        await store.subscribe(Subscriber("shop", user_id=f"u{number}"), ["news", "sport"], 10)
    listed, after = [], ""
    while page := await store.list_subscriptions(SubscriptionQuery("shop", 10, tag_name="sport"), after, 7):
        listed += page
        after = page[-1].subscription_id
    assert sorted(each.subscriber.user_id for each in listed) == sorted(f"u{number}" for number in range(30))
    assert len({each.subscription_id[:8] for each in listed}) == 1
    everything = await store.list_subscriptions(SubscriptionQuery("shop", 10), "", 100)
    assert len({each.subscription_id for each in everything}) == 60

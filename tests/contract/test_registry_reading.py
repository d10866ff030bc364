"""What is read of devices, what providers' words do to them, and limits, on both databases."""

from itertools import pairwise

import pytest
from sqlalchemy import func, select

from bellhop_server.domain import quota
from bellhop_server.domain.device import DeadTarget, DeviceState, Platform
from bellhop_server.domain.errors import DeviceNotFound, QuotaExceeded
from bellhop_server.domain.query import DeviceQuery
from bellhop_server.domain.registration import Unregister
from bellhop_server.store.database import Database
from bellhop_server.store.sql_store import SqlStore
from bellhop_server.store.tables import devices
from tests.contract.registry_commands import (
    AUTHORITY,
    NOBODY,
    create_applications,
    listed,
    own,
    register,
    target,
    together,
)
from tests.unit.app_fakes import found


@pytest.fixture(autouse=True)
async def applications(store: SqlStore) -> None:
    await create_applications(store)


# In the order of their code points, which neither a locale nor UTF-16 has.
ORDERED = ["-", "A", "Z", "_", "a", "z", "\u00e4", "\uffee", "\U0001f600"]


async def test_devices_are_listed_by_code_point(store: SqlStore) -> None:
    await together(store, [register(each, None, f"t{each}") for each in reversed(ORDERED)])
    query = DeviceQuery("shop", 0)
    assert [device.device_id for device in await store.list_devices(query, "", 100)] == ORDERED
    for before, after in pairwise(ORDERED):
        assert [device.device_id for device in await store.list_devices(query, before, 1)] == [after]
    assert await store.list_devices(query, ORDERED[-1], 100) == []


FILTERS = [
    (DeviceQuery("shop", 0), ["ann 1", "ann 2", "anonymous"]),
    (DeviceQuery("shop", 0, user_id="ann"), ["ann 1", "ann 2"]),
    (DeviceQuery("shop", 0, user_id="ANN"), []),
    (DeviceQuery("shop", 0, anonymous=True), ["anonymous"]),
    (DeviceQuery("shop", 0, anonymous=False), ["ann 1", "ann 2"]),
    (DeviceQuery("shop", 0, user_id="ann", anonymous=True), []),
    (DeviceQuery("shop", 0, states=(DeviceState.UNVERIFIED,)), ["stranger"]),
    (DeviceQuery("shop", 0, states=(DeviceState.UNVERIFIED, DeviceState.DEAD)), ["bob", "stranger"]),
    (DeviceQuery("shop", 0, states=()), ["ann 1", "ann 2", "anonymous", "bob", "stranger"]),
    (DeviceQuery("shop", 0, platforms=(Platform.APNS,)), ["ann 1", "ann 2", "anonymous"]),
    (DeviceQuery("shop", 0, platforms=(Platform.FCM, Platform.WEB_PUSH)), []),
    (DeviceQuery("bank", 0), ["ann 1"]),
    (DeviceQuery("nowhere", 0), []),
]


async def test_filters_are_joined(store: SqlStore) -> None:
    await together(
        store,
        [
            register("ann 1", "ann", "t1"),
            register("ann 2", "ann", "t2"),
            register("bob", "bob", "t3"),
            register("anonymous", None, "t4"),
            register("stranger", None, "t4", proof=NOBODY),
            register("ann 1", "ann", "t1", app="bank"),
        ],
    )
    await store.retire_targets("shop", [DeadTarget("bob", target("t3").digest, 1_000)])
    for query, expected in FILTERS:
        assert [device.device_id for device in await store.list_devices(query, "", 100)] == expected, query
        assert await store.count_devices(query) == len(expected), query


async def test_devices_are_read_by_id(store: SqlStore) -> None:
    names = [*ORDERED, 'quote"\\', "x" * 128]
    await together(store, [register(each, None, f"t{each}") for each in names])
    await store.execute(register("elsewhere", None, "t", app="bank"))
    reading = await store.read_present("shop", 1, [*names, "unknown", "elsewhere", names[0]])
    assert reading.devices == {device.device_id: found(device) for device in await listed(store)}
    assert len(reading.devices) == len(names)
    assert (reading.cancelled, reading.credentials) == (False, [])
    assert (await store.read_present("shop", 1, [])).devices == {}
    with pytest.raises(DeviceNotFound):
        await store.get_device("shop", "elsewhere")


# What providers say


@pytest.mark.promise("P11")
async def test_a_target_is_retired_only_as_it_was_seen(store: SqlStore) -> None:
    await together(store, [register(name, "ann", f"t{name}", now=1_000) for name in ("a", "b", "c", "d", "e")])
    await store.execute(register("b", "ann", "moved on", now=2_000))
    await store.execute(register("c", "ann", "tc", now=2_000))
    dead = [DeadTarget(name, target(f"t{name}").digest, 1_000) for name in ("a", "b", "c", "gone")]
    dead.append(DeadTarget("d", target("td").digest, 5_000))
    assert await store.retire_targets("shop", dead) == 2
    assert await store.retire_targets("shop", dead) == 0
    assert await store.retire_targets("bank", dead) == 0
    assert await store.retire_targets("shop", []) == 0
    states = {device.device_id: device.state for device in await listed(store)}
    assert [name for name, state in states.items() if state is DeviceState.DEAD] == ["a", "d"]


@pytest.mark.promise("P11")
async def test_a_dead_target_comes_to_life_when_it_is_presented(store: SqlStore) -> None:
    await store.execute(register("phone", "ann", "t"))
    await store.retire_targets("shop", [DeadTarget("phone", target("t").digest, 1_000)])
    again = await store.execute(register("phone", "ann", "t", now=2_000))
    assert again.device is not None
    assert again.device.state is DeviceState.ACTIVE
    # The word of the provider was about the time before.
    assert await store.retire_targets("shop", [DeadTarget("phone", target("t").digest, 1_999)]) == 0


async def test_what_was_accepted_is_noted_for_that_target(store: SqlStore) -> None:
    await together(store, [register(name, "ann", f"t{name}") for name in ("a", "b")])
    await store.mark_accepted("shop", [("a", target("ta").digest), ("b", target("ta").digest)])
    await store.mark_accepted("bank", [("b", target("tb").digest)])
    await store.mark_accepted("shop", [])
    assert {device.device_id: device.target_accepted for device in await listed(store)} == {"a": True, "b": False}


# Limits


async def test_the_devices_of_a_user_are_counted(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "DEVICES_OF_A_USER", 2)
    await store.execute(register("one", "ann", "t1"))
    await store.execute(register("one", "ann", "t1", app="bank"))
    answers = await together(store, [register("two", "ann", "t2"), register("three", "ann", "t3")])
    assert isinstance(answers[1], QuotaExceeded)
    await store.execute(register("instead of one", "ann", "t1"))
    await store.execute(Unregister("shop", "two", AUTHORITY, 2_000))
    await store.execute(register("three", "ann", "t3"))


async def test_unverified_devices_are_counted(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "UNVERIFIED_DEVICES", 2)
    await together(store, [register("owner", "ann", "t"), register("owner", "ann", "t", app="bank")])
    strangers = [register(f"s{number}", None, "t", proof=NOBODY, fresh=f"f{number}") for number in range(3)]
    await store.execute(strangers[0])
    answers = await together(store, strangers[1:])
    assert isinstance(answers[1], QuotaExceeded)
    await store.execute(register("s0", None, "t", app="bank", proof=NOBODY))
    await together(store, [Unregister("shop", "s0", own("f0"), 2_000), strangers[2]])
    states = {device.device_id: device.state for device in await listed(store)}
    assert states["s2"] is DeviceState.UNVERIFIED


async def test_one_device_in_three_applications_is_three_rows(store: SqlStore, database: Database) -> None:
    await together(store, [register("phone", "ann", "t", app=app) for app in ("shop", "bank")])
    statement = select(func.count()).select_from(devices)
    assert await database.read(lambda connection: connection.execute(statement).scalar_one()) == 2

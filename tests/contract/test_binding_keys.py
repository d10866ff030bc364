"""P4 on both databases: binding keys are kept sealed, read at a hand-over, and follow the master key."""

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, select, update

from bellhop_server.domain import MINUTE
from bellhop_server.domain.application import Application, Policy
from bellhop_server.domain.registration import Expire, Unregister
from bellhop_server.store import rotation
from bellhop_server.store.database import Database, open_database
from bellhop_server.store.failures import DatabaseRefused
from bellhop_server.store.rotation import reseal
from bellhop_server.store.seal import BindingKeys, MasterKey, SealBroken
from bellhop_server.store.sql_store import SqlStore
from bellhop_server.store.tables import devices
from tests.contract import registry_commands as commands
from tests.contract.registry_commands import AUTHORITY, listed, register, together

pytestmark = pytest.mark.promise("P4")

OLD, NEW, LOST = (MasterKey(bytes([number]) * 32) for number in (1, 2, 3))
BOTH = MasterKey(bytes([2]) * 32, bytes([1]) * 32)


def sealed(device: str, key: bytes, app: str = "shop", master: MasterKey = OLD) -> bytes:
    return BindingKeys(master).seal(key, app, device)


def wanting(device: str, user: str = "ann", *, key: bytes = b"k" * 32, app: str = "shop", **changes: Any) -> Any:
    """A registration with a binding key."""
    at = f"t{device}"
    command = register(device, user, at, app=app, **changes)
    return replace(command, sealed_binding_key=sealed(device, key, app))


async def read(store: SqlStore, *names: str) -> dict[str, bytes | None]:
    """What a hand-over reads."""
    reading = await store.read_present("shop", 0, names)
    found = {name: found.sealed_binding_key for name, found in reading.devices.items()}
    return {name: None if digits is None else bytes.fromhex(digits) for name, digits in found.items()}


def test_a_key_opens_for_its_device_and_under_its_master_key_alone() -> None:
    keys = BindingKeys(OLD)
    one = keys.seal(b"k" * 32, "shop", "d1")
    assert keys.open(one, "shop", "d1") == b"k" * 32
    assert b"k" * 8 not in one
    for app_id, device_id in (("shop", "d2"), ("bank", "d1"), ("d1", "shop"), ("sho", "pd1")):
        assert keys.open(one, app_id, device_id) is None
    assert BindingKeys(NEW).open(one, "shop", "d1") is None
    for spoilt in (b"", b"x", one[:-1], one + b"x", one[:-1] + bytes([one[-1] ^ 1])):
        assert keys.open(spoilt, "shop", "d1") is None
    # What is sealed as something else is no binding key.
    with pytest.raises(SealBroken):
        OLD.open(one, "credential", "shop", 1, "d1", 1)


async def test_it_comes_to_the_hand_over_for_as_long_as_the_binding_lasts(store: SqlStore) -> None:
    await commands.create_applications(store)
    first = wanting("phone")
    await together(store, [first, wanting("tablet", binding_ttl=MINUTE), register("watch", "ann", "w")])
    found = await read(store, "phone", "tablet", "watch")
    assert found["phone"] == first.sealed_binding_key
    assert found["tablet"] is not None
    assert found["watch"] is None

    await store.execute(commands.update("phone", "elsewhere"))
    assert await read(store, "phone") == {"phone": first.sealed_binding_key}
    second = wanting("phone", key=b"2" * 32, now=3_000)
    await store.execute(second)
    assert await read(store, "phone") == {"phone": second.sealed_binding_key}
    await store.execute(register("phone", "bob", now=4_000))
    assert await read(store, "phone") == {"phone": None}

    await store.execute(Expire("shop", ("tablet",), 1_000 + MINUTE))
    assert await read(store, "tablet") == {"tablet": None}
    await store.execute(wanting("phone", now=5_000))
    await store.execute(register("phone", None, now=6_000))
    assert await read(store, "phone") == {"phone": None}
    await store.execute(wanting("phone", now=7_000))
    await store.execute(Unregister("shop", "phone", AUTHORITY, 8_000))
    await store.execute(register("phone", "ann", "tphone", now=9_000))
    assert await read(store, "phone") == {"phone": None}


# Another master key


class BrokenOffError(Exception):
    """The rotation ends here."""


async def opened(url: str, master: MasterKey) -> dict[tuple[str, str], bytes | None]:
    """What each device's key is under a master key."""
    async with SqlStore.open(url, master) as store:
        keys = BindingKeys(master)
        found = {}
        for app in ("shop", "bank"):
            for device in await listed(store, app):
                kept = device.sealed_binding_key
                found[app, device.device_id] = None if kept is None else keys.open(kept, app, device.device_id)
        return found


async def filled(url: str, count: int) -> dict[tuple[str, str], bytes | None]:
    """Devices of two applications, most with a key; returns the keys."""
    expected: dict[tuple[str, str], bytes | None] = {}
    async with SqlStore.open(url, OLD) as store:
        for app in ("shop", "bank"):
            await store.create_application(Application(app, app, Policy(), 1, 1), [])
            group = []
            for number in range(count):
                name, key = f"d{number}", number.to_bytes(32, "big")
                expected[app, name] = None if number == 2 else key
                command = wanting(name, f"user {number}", key=key, app=app)
                group.append(command if number != 2 else replace(command, sealed_binding_key=None))
            await together(store, group)
    return expected


@pytest.mark.parametrize("chunk", [1, 3, 4, 7, 500])
async def test_all_of_them_follow_whatever_the_steps(
    database_url: str, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(rotation, "_CHUNK", chunk)
    expected = await filled(database_url, 5)
    assert await reseal(database_url, BOTH) == 0
    assert await opened(database_url, NEW) == expected


async def test_one_that_cannot_be_opened_stops_nothing(database_url: str) -> None:
    expected = await filled(database_url, 4)
    database = await open_database(database_url)
    spoil = update(devices).where(devices.c.app_id == "bank")
    for name, value in (("d0", sealed("d0", b"x" * 32, "bank", LOST)), ("d3", b"")):
        await database.write(partial(_run, spoil.where(devices.c.device_id == name).values(sealed_binding_key=value)))
        expected["bank", name] = None
    await database.aclose()
    assert await reseal(database_url, BOTH) == 0
    assert await opened(database_url, NEW) == expected


async def test_a_rotation_that_was_broken_off_is_ended_by_the_next(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = await filled(database_url, 4)
    monkeypatch.setattr(rotation, "_CHUNK", 3)
    steps = rotation._reseal_binding_keys
    seen: list[object] = []

    def breaks(connection: Connection, **arguments: Any) -> Any:
        seen.append(arguments["after"])
        if len(seen) == 2:
            raise BrokenOffError
        return steps(connection, **arguments)

    monkeypatch.setattr(rotation, "_reseal_binding_keys", breaks)
    with pytest.raises(BrokenOffError):
        await reseal(database_url, BOTH)
    # Some are under the new key, some under the old one, and a server that has both goes on.
    assert await opened(database_url, BOTH) == expected
    monkeypatch.setattr(rotation, "_reseal_binding_keys", steps)
    assert await reseal(database_url, BOTH) == 0
    assert await opened(database_url, NEW) == expected


async def test_a_login_during_the_rotation_keeps_its_own_key(database: Database, database_url: str) -> None:
    """On PostgreSQL servers that know both keys go on meanwhile: what they write is not overwritten."""
    if database.exclusive:
        with pytest.raises(DatabaseRefused):
            await reseal(database_url, BOTH)
        return
    store = SqlStore(database, BOTH)
    await commands.create_applications(store)
    await together(store, [wanting(f"d{number}") for number in range(20)])
    fresh = [
        replace(wanting(f"d{number}", now=5_000), sealed_binding_key=sealed(f"d{number}", b"n" * 32, master=BOTH))
        for number in range(20)
    ]
    await asyncio.gather(reseal(database_url, BOTH), *(store.execute(each) for each in fresh))
    keys = BindingKeys(NEW)
    for device in await listed(store):
        assert device.sealed_binding_key is not None
        assert keys.open(device.sealed_binding_key, "shop", device.device_id) == b"n" * 32
    await store.aclose()


def _run(statement: Any, connection: Connection) -> None:
    connection.execute(statement)


async def test_no_list_shows_a_key(database: Database) -> None:
    """It is in one column, and no other place has it in clear."""
    store = SqlStore(database, OLD)
    await commands.create_applications(store)
    await store.execute(wanting("phone", key=b"in clear: 32 bytes of binding key"[:32]))
    rows = await database.read(lambda connection: connection.execute(select(devices)).all())
    assert "in clear" not in repr(rows)
    assert "sealed" not in repr(await store.get_device("shop", "phone"))
    await store.aclose()

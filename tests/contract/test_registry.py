"""The registry on both databases: what the rules decide is kept, whoever else is at work."""

import unicodedata
from dataclasses import replace

import pytest

from bellhop_server.domain.application import SecretKind, digest_of
from bellhop_server.domain.device import ApnsEnvironment, Device, DeviceFacts, DeviceState, Platform, Target
from bellhop_server.domain.errors import CredentialsInvalid, DeviceNotFound, DeviceProofRequired, TargetRequired
from bellhop_server.domain.query import DeviceQuery
from bellhop_server.domain.registration import Proof, Register, RegistryAnswer, Unregister, UnregisterUser
from bellhop_server.store.database import Database
from bellhop_server.store.registry_group import apply_group
from bellhop_server.store.sql_store import SqlStore
from tests.contract.registry_commands import (
    AUTHORITY,
    NOBODY,
    create_applications,
    listed,
    live_secrets,
    own,
    register,
    target,
    together,
    update,
)


@pytest.fixture(autouse=True)
async def applications(store: SqlStore) -> None:
    await create_applications(store)


AT = 1_234_567_890_123_456

# What is kept


async def test_a_device_comes_back_as_it_was_registered(store: SqlStore) -> None:
    where = Target(Platform.APNS, "ab" * 32, "dev.bellhop.shop", ApnsEnvironment.SANDBOX)
    facts = DeviceFacts("de-AT", "Europe/Vienna", "1.0 \u00df", {"tier": "g\u00f6ld \U0001f3c6", "a.b": ""})
    command = Register("shop", "phone", "ann", where, facts, AUTHORITY, digest_of("fresh"), AT, AT)
    answer = await store.execute(command)
    expected = Device(
        app_id="shop",
        device_id="phone",
        user_id="ann",
        binding_epoch=1,
        target=where,
        facts=facts,
        state=DeviceState.ACTIVE,
        register_time=command.now,
        bind_time=command.now,
        update_time=command.now,
        target_time=command.now,
    )
    assert answer == RegistryAnswer(device=expected, created=True, secret_issued=True)
    assert await store.get_device("shop", "phone") == expected
    [known] = await store.find_secrets([digest_of("fresh")])
    assert (known.app_id, known.kind, known.device_id) == ("shop", SecretKind.DEVICE, "phone")
    assert (known.retire_time, known.expire_time, known.pending) == (None, None, False)


@pytest.mark.promise("P6")
async def test_every_change_is_kept(store: SqlStore) -> None:
    await store.execute(register("phone", "ann", "t"))
    changed = await store.execute(update("phone", "u"))
    assert changed.device == await store.get_device("shop", "phone")
    unbound = await store.execute(register("phone", None, now=3_000))
    assert unbound.device == await store.get_device("shop", "phone")
    assert unbound.device is not None
    assert (unbound.device.user_id, unbound.device.bind_time, unbound.device.target) == (None, None, target("u"))
    assert (await store.execute(Unregister("shop", "phone", AUTHORITY, 4_000))).removed == 1
    with pytest.raises(DeviceNotFound):
        await store.get_device("shop", "phone")


async def test_applications_do_not_meet(store: SqlStore) -> None:
    commands = [register("phone", "ann", "t", app=app, fresh="the same") for app in ("shop", "bank")]
    await together(store, commands)
    await store.execute(UnregisterUser("shop", "ann", 2_000))
    with pytest.raises(DeviceNotFound):
        await store.get_device("shop", "phone")
    device = await store.get_device("bank", "phone")
    assert device.user_id == "ann"
    live = {known.app_id: known.retire_time is None for known in await store.find_secrets([digest_of("the same")])}
    assert live == {"shop": False, "bank": True}


async def test_an_application_that_was_deleted_takes_no_device(store: SqlStore) -> None:
    await store.delete_application("shop")
    with pytest.raises(CredentialsInvalid):
        await store.execute(register("phone", "ann", "t"))


USERS = [
    "ann",
    "Ann",
    "\u00e9",  # the same letter, composed
    "e\u0301",  # and decomposed
    "\u1e9e",
    "ss",
    "\u0131",  # dotless i
    "\u0645\u0631\u064a\u0645 \u05e9\u05e8\u05d4",  # right to left
    "\u202eann",  # an override of the direction
    "\U0001f469\u200d\U0001f469\u200d\U0001f467",  # joined emoji
    "\U0001f469",
    "a" + "\u0301" * 500,
    "\U0010ffff" * 512,
    "\U0010ffff" * 511,
    " ann",
    "ann\n",
    "%",
    "_",
    "'; DROP TABLE devices; --",
    "\ufeffann",
    "\ud7ff\ue000",
]


async def test_user_ids_of_every_kind_are_kept_apart(store: SqlStore) -> None:
    assert unicodedata.normalize("NFC", "e\u0301") == "\u00e9"
    await together(store, [register(f"d{number}", user, f"t{number}") for number, user in enumerate(USERS)])
    for number, user in enumerate(USERS):
        [device] = await store.list_devices(DeviceQuery("shop", 0, user_id=user), "", 10)
        assert (device.device_id, device.user_id) == (f"d{number}", user)
    for user in USERS:
        assert (await store.execute(UnregisterUser("shop", user, 2_000))).removed == 1


@pytest.mark.promise("P3")
async def test_epochs_are_never_given_twice(store: SqlStore) -> None:
    await together(store, [register(f"d{number}", "ann", f"t{number}") for number in range(20)])
    await store.execute(UnregisterUser("shop", "ann", 2_000))
    first = await store.execute(register("again", "ann", "t", now=3_000))
    assert first.device is not None
    assert first.device.binding_epoch > 20


# Groups


async def test_a_group_answers_each_in_its_place(store: SqlStore) -> None:
    await store.execute(register("known", "ann", "k", fresh="secret of known"))
    answers = await together(
        store,
        [
            register("first", "ann", "t"),
            register("no target", "ann"),
            register("known", None, proof=NOBODY),
            register("second", "bob", "t"),
            register("known", None, proof=own("not the secret of known")),
            Unregister("shop", "first", AUTHORITY, 2_000),
            register("third", None, "t", proof=NOBODY),
            UnregisterUser("shop", "bob", 2_000),
            register("fourth", None, "t", proof=NOBODY),
        ],
    )
    errors = [type(answer) if isinstance(answer, BaseException) else None for answer in answers]
    assert errors == [None, TargetRequired, DeviceProofRequired, None, CredentialsInvalid, None, None, None, None]
    removed = [answer.removed for answer in answers if isinstance(answer, RegistryAnswer)]
    assert removed == [0, 0, 0, 0, 1, 0]
    states = {device.device_id: device.state for device in await listed(store)}
    assert states == {
        "known": DeviceState.ACTIVE,
        "third": DeviceState.UNVERIFIED,
        "fourth": DeviceState.ACTIVE,
    }


async def test_a_member_that_breaks_does_not_sink_its_group(store: SqlStore) -> None:
    # PostgreSQL takes no NUL in a text; SQLite does. Either way the others are registered.
    commands = [register("before", "ann", "t"), register("broken\0", "ann", "u"), register("after", "ann", "v")]
    answers = await together(store, commands)
    assert isinstance(answers[0], RegistryAnswer)
    assert isinstance(answers[2], RegistryAnswer)
    assert {"before", "after"} <= {device.device_id for device in await listed(store)}


async def test_tokens_that_change_places_within_a_group(store: SqlStore, database: Database) -> None:
    await together(store, [register(f"d{number}", "ann", f"t{number}") for number in range(3)])
    # Not by way of the store, which would help itself by taking them one by one.
    answers = await database.write(
        lambda connection: apply_group(
            connection,
            [
                register("d0", "ann", "spare", now=2_000),
                register("d1", "ann", "t0", now=2_000),
                register("d2", "ann", "t1", now=2_000),
                register("d0", "ann", "t2", now=2_000),
                register("d1", "ann", "t2", now=2_000),
                register("d0", "ann", "t0", now=2_000),
            ],
        )
    )
    assert all(isinstance(answer, RegistryAnswer) for answer in answers)
    held = {device.device_id: device.target for device in await listed(store)}
    assert held == {"d0": target("t0"), "d1": target("t2"), "d2": target("t1")}


async def test_what_comes_and_goes_within_a_group_leaves_its_secret_behind(store: SqlStore) -> None:
    await together(store, [register("phone", "ann", "t", fresh="f"), Unregister("shop", "phone", AUTHORITY, 2_000)])
    assert await listed(store) == []
    [known] = await store.find_secrets([digest_of("f")])
    assert known.retire_time == 2_000
    assert (await store.execute(Unregister("shop", "phone", own("f"), 3_000))).removed == 0


# Device secrets


async def test_a_secret_is_pending_until_it_is_used(store: SqlStore) -> None:
    await store.execute(register("phone", "ann", "t", fresh="first"))
    await store.execute(register("phone", "ann", fresh="second", now=2_000))
    assert await live_secrets(store, "first", "second") == {"first": False, "second": True}
    await store.execute(update("phone", proof=own("second"), now=3_000))
    assert await live_secrets(store, "first", "second") == {"second": False}


async def test_a_first_use_elsewhere_counts(store: SqlStore) -> None:
    await store.execute(register("phone", "ann", "t", fresh="first"))
    await store.execute(register("phone", "ann", fresh="second", now=2_000))
    await store.settle_device_secret("shop", "phone", digest_of("second"), 3_000)
    with pytest.raises(CredentialsInvalid):
        await store.execute(update("phone", proof=own("first")))
    await store.execute(update("phone", proof=own("second")))


@pytest.mark.promise("P2")
async def test_a_restored_backup_gets_nothing(store: SqlStore) -> None:
    """The former owner's phone, or a copy of it, knows a secret that has been retired."""
    mine = own("the secret of the phone and of its backup")
    await store.execute(register("phone", "ann", "t", proof=replace(mine, authority=True)))
    sold = await store.execute(register("phone", "bob", "t", proof=replace(mine, authority=True), now=2_000))
    assert sold.secret_issued
    assert sold.device is not None
    for command in (
        update("phone", "evil", proof=mine),
        register("phone", None, "evil", proof=mine, now=3_000),
        Unregister("shop", "phone", mine, 3_000),
    ):
        with pytest.raises(CredentialsInvalid):
            await store.execute(command)
    copy = await store.execute(register("copy", None, "t", proof=mine, now=3_000))
    assert copy.device is not None
    assert copy.device.state is DeviceState.UNVERIFIED
    assert await store.get_device("shop", "phone") == sold.device


async def test_retired_secrets_are_remembered_across_the_end_of_a_device(store: SqlStore) -> None:
    mine = Proof(True, digest_of("brought"), True)
    await store.execute(register("phone", "ann", "t", proof=mine))
    await store.execute(Unregister("shop", "phone", AUTHORITY, 2_000))
    assert (await store.execute(register("phone", "bob", "t", proof=mine, now=3_000))).secret_issued

"""Applications, their secrets and their credentials, on both databases."""

import asyncio
import hashlib
from dataclasses import replace

import pytest
from sqlalchemy import select, update

from bellhop_server.domain.application import (
    AnonymousPolicy,
    ApnsCredential,
    Application,
    Credential,
    KnownSecret,
    Policy,
    ProbeResult,
    Secret,
    SecretKind,
)
from bellhop_server.domain.device import ApnsEnvironment, Platform
from bellhop_server.domain.errors import (
    ApplicationAlreadyExists,
    ApplicationNotFound,
    ConcurrentChange,
    QuotaExceeded,
    SecretNotFound,
)
from bellhop_server.store.bulk import insert_many
from bellhop_server.store.database import Database
from bellhop_server.store.seal import KeyRefused, MasterKey, SealBroken
from bellhop_server.store.sql_store import SqlStore
from bellhop_server.store.tables import credentials, secrets


def application(app_id: str = "shop") -> Application:
    return Application(app_id, "Shop", Policy(), create_time=100, update_time=100)


def secret(name: str, kind: SecretKind = SecretKind.CLIENT, *, app_id: str = "shop", create_time: int = 100) -> Secret:
    return Secret(name, app_id, kind, digest(name), name[:4], create_time)


def digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def credential(credential_id: str = "apns", app_id: str = "shop") -> Credential:
    key = ApnsCredential("KEY", "TEAM", "-----BEGIN PRIVATE KEY-----", ("a.b", "c.d"), (ApnsEnvironment.SANDBOX,))
    return Credential(app_id, credential_id, Platform.APNS, 0, 100, key)


async def add_device_secret(
    database: Database, device_id: str, name: str, *, pending: bool, app_id: str = "shop"
) -> None:
    row = (digest(name), app_id, device_id, SecretKind.DEVICE, 100, pending)
    columns = ("digest", "app_id", "device_id", "kind", "create_time", "pending")
    await database.write(lambda connection: insert_many(connection, secrets, columns, [row]))


async def device_secret(store: SqlStore, device_id: str, name: str) -> KnownSecret:
    [found] = [known for known in await store.find_secrets([digest(name)]) if known.device_id == device_id]
    return found


async def test_application_reads_as_it_was_written(store: SqlStore) -> None:
    written = replace(application(), policy=Policy(AnonymousPolicy.SECRET), display_name="Läden 🛎")
    await store.create_application(written, [])

    assert written == await store.get_application("shop")


async def test_taken_name_is_refused_and_changes_nothing(store: SqlStore) -> None:
    await store.create_application(application(), [secret("one")])
    with pytest.raises(ApplicationAlreadyExists):
        await store.create_application(replace(application(), display_name="Thief"), [secret("two")])

    assert (await store.get_application("shop")).display_name == "Shop"
    assert await store.find_secrets([digest("two")]) == []


async def test_of_two_that_want_a_name_at_once_one_gets_it(store: SqlStore) -> None:
    created = await asyncio.gather(
        *(store.create_application(application(), [secret(f"s{n}")]) for n in range(8)), return_exceptions=True
    )

    assert created.count(None) == 1
    assert sum(isinstance(error, ApplicationAlreadyExists) for error in created) == 7
    assert len(await store.list_secrets("shop", 0, "", 100)) == 1


async def test_applications_are_listed_by_code_point(store: SqlStore) -> None:
    names = ["a", "B", "ä", "Z", "_", "a-1", "a1", "10", "9"]
    for name in names:
        await store.create_application(application(name), [])

    listed = [found.app_id for found in await store.list_applications("", 4)]
    listed += [found.app_id for found in await store.list_applications(listed[-1], 100)]
    assert sorted(names) == listed


async def test_update_changes_what_is_given_and_only_that(store: SqlStore) -> None:
    await store.create_application(application(), [])
    await store.create_application(application("other"), [])
    renamed = await store.update_application("shop", 200, "", None)
    ruled = await store.update_application("shop", 300, None, Policy(AnonymousPolicy.OFF))

    assert replace(application(), display_name="", update_time=200) == renamed
    assert replace(renamed, policy=Policy(AnonymousPolicy.OFF), update_time=300) == ruled
    assert ruled == await store.get_application("shop")
    assert application("other") == await store.get_application("other")


async def test_unknown_application_is_not_found(store: SqlStore) -> None:
    for call in (
        store.get_application("ghost"),
        store.update_application("ghost", 1, "x", None),
        store.add_secret(secret("s", app_id="ghost"), 1, 10),
        store.list_secrets("ghost", 0, "", 10),
        store.end_secret("ghost", "s", 1),
        store.put_credential(credential(app_id="ghost"), None),
        store.delete_credential("ghost", "apns"),
    ):
        with pytest.raises(ApplicationNotFound):
            await call
    assert not await store.delete_application("ghost")
    assert await store.list_credentials("ghost") == []


async def test_look_up_finds_every_kind_by_its_digest(store: SqlStore, database: Database) -> None:
    await store.create_application(application(), [secret("bhc"), secret("bha", SecretKind.APP)])
    await store.create_application(application("other"), [])
    await add_device_secret(database, "d1", "bhd", pending=True)
    await add_device_secret(database, "d2", "bhd", pending=False)
    await add_device_secret(database, "d1", "bhd", pending=False, app_id="other")

    found = await store.find_secrets([digest("bhc"), digest("bha"), digest("bhd"), digest("wrong"), b""])
    assert {
        ("shop", SecretKind.CLIENT, digest("bhc"), "bhc", "", False),
        ("shop", SecretKind.APP, digest("bha"), "bha", "", False),
        ("shop", SecretKind.DEVICE, digest("bhd"), "", "d1", True),
        ("shop", SecretKind.DEVICE, digest("bhd"), "", "d2", False),
        ("other", SecretKind.DEVICE, digest("bhd"), "", "d1", False),
    } == {(known.app_id, known.kind, known.digest, known.secret_id, known.device_id, known.pending) for known in found}
    assert len(found) == 5


async def test_look_up_finds_every_application_with_that_secret_again_and_again(store: SqlStore) -> None:
    for app_id in ("shop", "other"):
        await store.create_application(application(app_id), [secret("shared", app_id=app_id)])
    for _ in range(3):
        found = await store.find_secrets([digest("shared")])
        assert sorted(known.app_id for known in found) == ["other", "shop"]


async def test_look_ups_that_come_together_get_their_own_answers(store: SqlStore) -> None:
    await store.create_application(application(), [secret(f"s{n}") for n in range(50)])
    answers = await asyncio.gather(*(store.find_secrets([digest(f"s{n}"), digest(f"s{n}")]) for n in range(60)))

    assert [[f"s{n}"] for n in range(50)] + [[]] * 10 == [[known.secret_id for known in found] for found in answers]


async def test_rotation_ends_the_others_of_the_kind_at_the_earlier_time(store: SqlStore) -> None:
    soon = replace(secret("soon"), expire_time=150)
    await store.create_application(application(), [secret("old"), soon, secret("app", SecretKind.APP)])
    await store.create_application(application("other"), [secret("foreign", app_id="other")])
    await store.add_secret(secret("new", create_time=120), others_end=200, live_limit=10)

    ends = {found.secret_id: found.expire_time for found in await store.list_secrets("shop", 0, "", 10)}
    assert ends == {"old": 200, "soon": 150, "app": None, "new": None}
    assert None is (await store.find_secrets([digest("foreign")]))[0].expire_time


async def test_too_many_live_secrets_of_a_kind_are_refused(store: SqlStore) -> None:
    await store.create_application(application(), [secret("s0"), secret("app", SecretKind.APP)])
    await store.add_secret(secret("s1", create_time=110), others_end=500, live_limit=2)
    with pytest.raises(QuotaExceeded) as refused:
        await store.add_secret(secret("s2", create_time=120), others_end=400, live_limit=2)

    assert refused.value.metadata == {"limit": "secrets", "value": "2"}
    ends = {found.secret_id: found.expire_time for found in await store.list_secrets("shop", 0, "", 10)}
    assert ends == {"s0": 500, "s1": None, "app": None}
    await store.add_secret(secret("s3", create_time=130), others_end=130, live_limit=1)


async def test_secrets_are_listed_while_they_live_and_for_a_while_after(store: SqlStore, database: Database) -> None:
    ended = [replace(secret(f"e{end}"), expire_time=end) for end in (150, 200, 250)]
    await store.create_application(application(), [*ended, secret("live")])
    await add_device_secret(database, "d1", "bhd", pending=False)

    listed = await store.list_secrets("shop", 200, "", 10)
    assert [ended[2], secret("live")] == listed
    assert [secret("live")] == await store.list_secrets("shop", 200, "e250", 10)
    assert [ended[2]] == await store.list_secrets("shop", 200, "", 1)


async def test_ended_secret_stays_ended_when_it_was(store: SqlStore) -> None:
    await store.create_application(application(), [secret("s")])
    await store.create_application(application("other"), [])
    ended = await store.end_secret("shop", "s", 200)
    again = await store.end_secret("shop", "s", 300)

    assert replace(secret("s"), expire_time=200) == ended == again
    assert (await store.find_secrets([digest("s")]))[0].expire_time == 200
    for app_id, secret_id in (("other", "s"), ("shop", "ghost"), ("shop", "")):
        with pytest.raises(SecretNotFound):
            await store.end_secret(app_id, secret_id, 400)


async def test_what_a_process_remembers_is_over_when_another_says_so(store: SqlStore, other_store: SqlStore) -> None:
    async def remembered() -> list[KnownSecret]:
        return [found for found in await other_store.find_secrets([digest("s")]) if found.expire_time is None]

    await store.create_application(application(), [secret("s")])
    assert await remembered()
    await store.end_secret("shop", "s", 200)
    assert not await remembered()

    await store.create_application(application("other"), [secret("t", app_id="other")])
    assert await other_store.find_secrets([digest("t")])
    await store.add_secret(secret("u", app_id="other"), others_end=300, live_limit=10)
    assert [found.expire_time for found in await other_store.find_secrets([digest("t")])] == [300]
    assert await store.delete_application("other")
    assert not await other_store.find_secrets([digest("t")])


async def test_first_use_of_a_device_secret_retires_the_others(store: SqlStore, database: Database) -> None:
    await add_device_secret(database, "d1", "old", pending=False)
    await add_device_secret(database, "d1", "lost", pending=True)
    await add_device_secret(database, "d1", "new", pending=True)
    await add_device_secret(database, "d2", "old", pending=False)
    await store.settle_device_secret("shop", "d1", digest("new"), 200)
    await store.settle_device_secret("shop", "d1", digest("new"), 300)

    assert ((new := await device_secret(store, "d1", "new")).pending, new.retire_time) == (False, None)
    assert (await device_secret(store, "d1", "old")).retire_time == 200
    assert (await device_secret(store, "d1", "lost")).retire_time == 200
    assert None is (await device_secret(store, "d2", "old")).retire_time


async def test_retired_device_secret_does_not_come_back_by_use(store: SqlStore, database: Database) -> None:
    await add_device_secret(database, "d1", "first", pending=True)
    await add_device_secret(database, "d1", "second", pending=True)
    await asyncio.gather(
        store.settle_device_secret("shop", "d1", digest("first"), 200),
        store.settle_device_secret("shop", "d1", digest("second"), 200),
    )

    states = [(await device_secret(store, "d1", name)).retire_time for name in ("first", "second")]
    assert sorted(states, key=lambda time: time or 0) == [None, 200]


async def test_last_use_moves_forward_only(store: SqlStore) -> None:
    await store.create_application(application(), [secret("a"), secret("b"), secret("c")])
    await store.touch_secrets({"a": 300, "b": 300, "ghost": 1, "": 1})
    await store.touch_secrets({"a": 200, "b": 400})
    await store.touch_secrets({})

    uses = {found.secret_id: found.last_use_time for found in await store.list_secrets("shop", 0, "", 10)}
    assert uses == {"a": 300, "b": 400, "c": None}


async def test_credential_reads_as_it_was_written(store: SqlStore) -> None:
    await store.create_application(application(), [])
    probed = replace(credential("probed"), probe=ProbeResult(False, "BadTopic", 90, reached=False))
    stored = [await store.put_credential(credential(), None), await store.put_credential(probed, None)]

    assert replace(credential(), version=stored[0].version) == stored[0]
    assert stored == await store.list_credentials("shop")


async def test_every_replacement_has_a_version_of_its_own(store: SqlStore) -> None:
    await store.create_application(application(), [])
    versions: list[int | None] = [None]
    for _ in range(3):
        versions.append((await store.put_credential(credential(), versions[-1])).version)
    [last] = await store.list_credentials("shop")
    await store.delete_credential("shop", "apns")
    reborn = await store.put_credential(credential(), None)

    assert len(set(versions)) == 4
    assert versions[-1] == last.version
    assert reborn.version > last.version


async def test_of_those_who_replace_the_same_version_at_once_one_does(store: SqlStore) -> None:
    await store.create_application(application(), [])
    before: int | None = None
    for _ in range(2):
        racing = (store.put_credential(credential(), before) for _ in range(8))
        told = await asyncio.gather(*racing, return_exceptions=True)
        [winner] = [found for found in told if isinstance(found, Credential)]

        assert sum(isinstance(found, ConcurrentChange) for found in told) == 7
        assert [winner] == await store.list_credentials("shop")
        before = winner.version


async def test_what_was_replaced_or_deleted_meanwhile_is_not_replaced(store: SqlStore) -> None:
    await store.create_application(application(), [])
    first = await store.put_credential(credential(), None)
    second = await store.put_credential(credential(), first.version)
    for replaces in (None, first.version):
        with pytest.raises(ConcurrentChange):
            await store.put_credential(credential(), replaces)
    assert [second] == await store.list_credentials("shop")

    await store.delete_credential("shop", "apns")
    with pytest.raises(ConcurrentChange):
        await store.put_credential(credential(), second.version)
    assert await store.list_credentials("shop") == []


async def test_credential_is_deleted_once(store: SqlStore) -> None:
    await store.create_application(application(), [])
    await store.create_application(application("other"), [])
    kept = await store.put_credential(credential(app_id="other"), None)
    await store.put_credential(credential(), None)

    assert [await store.delete_credential("shop", "apns") for _ in range(2)] == [True, False]
    assert [kept] == await store.list_credentials("other")


async def test_credential_lies_sealed_and_opens_only_in_its_place(store: SqlStore, database: Database) -> None:
    await store.create_application(application(), [])
    await store.create_application(application("other"), [])
    await store.put_credential(credential(), None)
    mine = await store.put_credential(credential(app_id="other"), None)
    sealed = await database.read(
        lambda connection: connection.execute(
            select(credentials.c.sealed).where(credentials.c.app_id == "shop")
        ).scalar_one()
    )
    assert b"PRIVATE KEY" not in sealed
    moved = update(credentials).where(credentials.c.app_id == "other").values(sealed=sealed)
    await database.write(lambda connection: connection.execute(moved).rowcount)
    with pytest.raises(SealBroken):
        await store.list_credentials("other")

    old_version = update(credentials).where(credentials.c.app_id == "shop").values(version=mine.version + 1)
    await database.write(lambda connection: connection.execute(old_version).rowcount)
    with pytest.raises(SealBroken):
        await store.list_credentials("shop")


async def test_wrong_master_key_is_told_at_the_start(database_url: str, master_key: MasterKey) -> None:
    async with SqlStore.open(database_url, master_key):
        pass
    with pytest.raises(KeyRefused, match="not the one"):
        async with SqlStore.open(database_url, MasterKey(bytes(32))):
            raise AssertionError("opened under a wrong key")
    async with SqlStore.open(database_url, master_key) as store:
        assert await store.list_applications("", 1) == []

"""Another master key over what is sealed: all of it or nothing, wherever it is interrupted."""

import asyncio
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import text

from bellhop_cli.main import main
from bellhop_server.domain.application import (
    ApnsCredential,
    Application,
    Credential,
    FcmCredential,
    Policy,
    ProviderSecret,
    VapidKey,
    WebPushCredential,
)
from bellhop_server.domain.device import Platform
from bellhop_server.store.database import open_database
from bellhop_server.store.failures import DatabaseRefused
from bellhop_server.store.rotation import _reseal, reseal
from bellhop_server.store.seal import KeyRefused, MasterKey, SealBroken, add_key, drop_former_keys
from bellhop_server.store.sql_store import SqlStore

OLD, NEW, OTHER = (bytes([number]) * 32 for number in range(3))

SECRETS: dict[str, tuple[Platform, ProviderSecret]] = {
    "apns": (Platform.APNS, ApnsCredential("KEY1234567", "TEAM123456", "p8", ("com.example",))),
    "fcm": (Platform.FCM, FcmCredential("project", "a@b", "id", "pem", "123")),
    "web-push": (Platform.WEB_PUSH, WebPushCredential((VapidKey("now", "a"), VapidKey("then", "b")), "mailto:a@b.c")),
}


async def fill(url: str, key: MasterKey) -> None:
    async with SqlStore.open(url, key) as store:
        await store.create_application(Application("shop", "Shop", Policy(), 0, 0), [])
        for name, (platform, secret) in SECRETS.items():
            await store.put_credential(Credential("shop", name, platform, 0, 0, secret), None)


async def secrets_under(url: str, key: MasterKey) -> dict[str, ProviderSecret]:
    async with SqlStore.open(url, key) as store:
        return {each.credential_id: each.secret for each in await store.list_credentials("shop")}


@pytest.fixture
async def url(database_url: str) -> str:
    await fill(database_url, MasterKey(OLD))
    return database_url


async def test_what_the_former_key_has_sealed_opens_under_the_new_one_alone(url: str) -> None:
    expected = {name: secret for name, (_, secret) in SECRETS.items()}
    # Before: both keys are needed, and either order opens.
    assert await secrets_under(url, MasterKey(NEW, OLD)) == expected
    with pytest.raises(KeyRefused):
        await secrets_under(url, MasterKey(NEW))

    assert await reseal(url, MasterKey(NEW, OLD)) == 3

    assert await secrets_under(url, MasterKey(NEW)) == expected
    with pytest.raises(KeyRefused):
        await secrets_under(url, MasterKey(OLD))
    assert await reseal(url, MasterKey(NEW)) == 0


async def test_what_cannot_be_opened_stops_it_and_nothing_is_changed(url: str) -> None:
    database = await open_database(url)
    await database.write(
        lambda connection: (
            connection.execute(
                text("UPDATE credentials SET sealed = :sealed WHERE credential_id = 'fcm'"),
                {"sealed": MasterKey(OTHER).seal(b"{}", "elsewhere")},
            ).rowcount
        )
    )
    await database.aclose()
    with pytest.raises(KeyRefused, match="fcm of shop"):
        await reseal(url, MasterKey(NEW, OLD))
    # All is as it was: the former key opens the canary still, and the others.
    with pytest.raises(SealBroken):
        await secrets_under(url, MasterKey(OLD))
    with pytest.raises(KeyRefused):
        await secrets_under(url, MasterKey(NEW))


async def test_a_wrong_key_is_refused(url: str) -> None:
    with pytest.raises(KeyRefused):
        await reseal(url, MasterKey(NEW, OTHER))


async def test_servers_that_know_both_keys_go_on_through_it(url: str) -> None:
    """The order of docs/operating.md: the new key behind the former one, then in front of it, then everything anew."""
    knows, seals = MasterKey(OLD, NEW), MasterKey(NEW, OLD)
    database = await open_database(url)
    first, second = SqlStore(database, knows), SqlStore(database, seals)
    for store in (first, second):
        assert len(await store.list_credentials("shop")) == 3
    platform, secret = SECRETS["apns"]
    by_first = await first.put_credential(Credential("shop", "first", platform, 0, 0, secret), None)
    by_second = await second.put_credential(Credential("shop", "second", platform, 0, 0, secret), None)
    for store in (first, second):
        assert {by_first, by_second} <= set(await store.list_credentials("shop"))

    async def ask() -> None:
        while not done.is_set():
            for store in (first, second):
                assert len(await store.list_credentials("shop")) == 5

    done = asyncio.Event()
    asking = asyncio.create_task(ask())
    if database.exclusive:
        assert await database.write(partial(_reseal, key=seals)) == 4
    else:
        assert await reseal(url, seals) == 4
    done.set()
    await asking

    replaced = await second.put_credential(Credential("shop", "first", platform, 0, 9, secret), by_first.version)
    for store in (first, second, SqlStore(database, MasterKey(NEW))):
        assert len(await store.list_credentials("shop")) == 5
        assert replaced in await store.list_credentials("shop")
    with pytest.raises(SealBroken):
        await SqlStore(database, MasterKey(OLD)).list_credentials("shop")
    await database.aclose()


async def test_a_file_in_use_is_left_alone(url: str) -> None:
    database = await open_database(url)
    if database.exclusive:
        with pytest.raises(DatabaseRefused):
            await reseal(url, MasterKey(NEW, OLD))
        assert len(await SqlStore(database, MasterKey(OLD)).list_credentials("shop")) == 3
    await database.aclose()


def test_the_command_wherever_it_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("BELLHOP_MASTER_KEY", "BELLHOP_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    file, url = tmp_path / "bellhop.key", "sqlite:///bellhop.db"
    first = MasterKey.load_or_create(file)
    asyncio.run(fill(url, first))
    former = file.read_text()

    # Interrupted after the first step, and after the second.
    add_key(file)
    both = file.read_text()
    assert both.endswith(former)
    assert len(asyncio.run(secrets_under(url, MasterKey.load_or_create(file)))) == 3
    add_key(file)
    assert file.read_text() == both
    asyncio.run(reseal(url, MasterKey.load_or_create(file)))
    assert len(asyncio.run(secrets_under(url, MasterKey.load_or_create(file)))) == 3

    assert main(["rotate-master-key"]) == 0

    assert file.read_text() == both.removesuffix(former)
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(asyncio.run(secrets_under(url, MasterKey.load_or_create(file)))) == 3
    with pytest.raises(KeyRefused):
        asyncio.run(secrets_under(url, first))
    drop_former_keys(file)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("bellhop.key")) == ["bellhop.key"]


def test_the_command_needs_both_keys_of_a_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BELLHOP_MASTER_KEY", NEW.hex())
    assert main(["rotate-master-key"]) == 2
    assert "behind a comma" in capsys.readouterr().err
    monkeypatch.setenv("BELLHOP_MASTER_KEY", f"{NEW.hex()},{OLD.hex()}")
    asyncio.run(fill("sqlite:///bellhop.db", MasterKey(OLD)))
    assert main(["rotate-master-key"]) == 0
    assert "3 credentials" in capsys.readouterr().out

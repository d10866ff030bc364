"""An application with any number of devices, written straight into a store: what is measured comes after."""

import secrets
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection

from bellhop_server.domain.application import (
    ApnsCredential,
    Application,
    Credential,
    Policy,
    Secret,
    SecretKind,
    digest_of,
)
from bellhop_server.domain.device import Device, DeviceFacts, DeviceState, Platform, Target
from bellhop_server.store.bulk import insert_many
from bellhop_server.store.device_rows import COLUMNS, to_row
from bellhop_server.store.migrate import upgrade
from bellhop_server.store.seal import MasterKey
from bellhop_server.store.sql_store import SqlStore
from bellhop_server.store.tables import devices
from benchmarks.certificates import provider_key

APP = "bench"
_PAGE = 10_000
_TIME = 1_790_000_000_000_000


@dataclass(frozen=True, slots=True)
class Seeded:
    """The application's secrets."""

    client_secret: str
    app_secret: str


async def seed(database_url: str, master_key: str, count: int) -> Seeded:
    """Makes the application with `count` devices of as many people, each of which has been reached before."""
    await upgrade(database_url)
    made = Seeded("bhc_" + secrets.token_urlsafe(32), "bha_" + secrets.token_urlsafe(32))
    kinds = ((SecretKind.CLIENT, made.client_secret), (SecretKind.APP, made.app_secret))
    async with SqlStore.open(database_url, MasterKey.parse(master_key)) as store:
        await store.create_application(
            Application(APP, "Benchmark", Policy(), _TIME, _TIME),
            [Secret(f"s{kind}", APP, kind, digest_of(text), text[-4:], _TIME) for kind, text in kinds],
        )
        key = ApnsCredential("KEY1234567", "TEAM123456", provider_key(), ("com.example.shop",))
        await store.put_credential(Credential(APP, "apns", Platform.APNS, 0, _TIME, key))
        for first in range(0, count, _PAGE):
            rows = [to_row(_device(number)) for number in range(first, min(first + _PAGE, count))]
            await store._database.write(partial(_insert, rows=rows))
    return made


def _insert(connection: Connection, rows: list[tuple[object, ...]]) -> None:
    insert_many(connection, devices, COLUMNS, rows)


def _device(number: int) -> Device:
    return Device(
        app_id=APP,
        device_id=f"device-{number:08d}",
        user_id=f"user-{number:08d}",
        binding_epoch=number + 1,
        target=Target(Platform.APNS, f"{number:064x}"),
        facts=DeviceFacts("de-AT", "Europe/Vienna", "1.0"),
        state=DeviceState.ACTIVE,
        register_time=_TIME,
        bind_time=_TIME,
        update_time=_TIME,
        target_time=_TIME,
        target_accepted=True,
    )

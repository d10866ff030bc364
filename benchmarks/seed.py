"""Two applications with devices, written straight into a store: what is measured comes after."""

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
OTHER = "other"
OTHER_DEVICES = 1000
_PAGE = 10_000
_TIME = 1_790_000_000_000_000


@dataclass(frozen=True, slots=True)
class Seeded:
    """The secrets."""

    client_secret: str
    app_secret: str
    other_app_secret: str


async def seed(database_url: str, master_key: str, count: int) -> Seeded:
    """Makes APP with `count` devices of as many people, and OTHER with its own; each has been reached before."""
    await upgrade(database_url)
    made = Seeded(*(prefix + secrets.token_urlsafe(32) for prefix in ("bhc_", "bha_", "bha_")))
    async with SqlStore.open(database_url, MasterKey.parse(master_key)) as store:
        for app_id, kinds in (
            (APP, ((SecretKind.CLIENT, made.client_secret), (SecretKind.APP, made.app_secret))),
            (OTHER, ((SecretKind.APP, made.other_app_secret),)),
        ):
            await store.create_application(
                Application(app_id, "Benchmark", Policy(), _TIME, _TIME),
                [Secret(f"{app_id}{kind}", app_id, kind, digest_of(text), text[-4:], _TIME) for kind, text in kinds],
            )
            key = ApnsCredential("KEY1234567", "TEAM123456", provider_key(), ("com.example.shop",))
            await store.put_credential(Credential(app_id, f"apns-{app_id}", Platform.APNS, 0, _TIME, key), None)
        # The identities of the other application's devices come after those of the first.
        for app_id, first, end in ((APP, 0, count), (OTHER, count, count + OTHER_DEVICES)):
            for page in range(first, end, _PAGE):
                rows = [to_row(_device(app_id, number)) for number in range(page, min(page + _PAGE, end))]
                await store._database.write(partial(_insert, rows=rows))
    return made


def person(number: int) -> str:
    """The user whose device is the one of that number."""
    return f"user-{number:08d}"


def device(number: int) -> str:
    """The id of the device of that number."""
    return f"device-{number:08d}"


def _insert(connection: Connection, rows: list[tuple[object, ...]]) -> None:
    insert_many(connection, devices, COLUMNS, rows)


def _device(app_id: str, number: int) -> Device:
    return Device(
        app_id=app_id,
        device_id=device(number),
        user_id=person(number),
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

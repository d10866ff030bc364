"""An application with devices by the thousand, written straight into a database: registering them would take longer
than what is tested.
"""

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
from bellhop_server.store.database import open_database
from bellhop_server.store.device_rows import COLUMNS, to_row
from bellhop_server.store.seal import MasterKey
from bellhop_server.store.sql_store import SqlStore
from bellhop_server.store.tables import devices
from bellhop_simulators.apns.keys import ApnsKey

APP = "shop"
APP_SECRET = "bha_of-a-crowd"
_TIME = 1_790_000_000_000_000
_PAGE = 10_000


async def gather_crowd(database_url: str, master_key: bytes, key: ApnsKey, count: int) -> None:
    """The application with a credential of that key and that many devices of as many people.

    The database is an empty one that no server has open.
    """
    database = await open_database(database_url)
    store = SqlStore(database, MasterKey(master_key))
    try:
        secret = Secret("s1", APP, SecretKind.APP, digest_of(APP_SECRET), APP_SECRET[-4:], _TIME)
        await store.create_application(Application(APP, "Shop", Policy(), _TIME, _TIME), [secret])
        credential = ApnsCredential(key.key_id, key.team_id, key.p8, tuple(key.topics))
        await store.put_credential(Credential(APP, "apns", Platform.APNS, 0, _TIME, credential), None)
        for first in range(0, count, _PAGE):
            rows = [to_row(_device(number)) for number in range(first, min(first + _PAGE, count))]
            await database.write(partial(_insert, rows=rows))
    finally:
        await store.aclose()
        await database.aclose()


def device_id(number: int) -> str:
    """Of the device with that number, from 0."""
    return f"d{number:06}"


def token(device_id: str) -> str:
    """The device token behind an id. None is all zeros: that is what a credential is tried with."""
    return f"{int(device_id[1:]) + 1:064x}"


def _insert(connection: Connection, rows: list[tuple[object, ...]]) -> None:
    insert_many(connection, devices, COLUMNS, rows)


def _device(number: int) -> Device:
    return Device(
        app_id=APP,
        device_id=device_id(number),
        user_id=f"u{number:06}",
        binding_epoch=number + 1,
        target=Target(Platform.APNS, token(device_id(number))),
        facts=DeviceFacts(),
        state=DeviceState.ACTIVE,
        register_time=_TIME,
        bind_time=_TIME,
        update_time=_TIME,
        target_time=_TIME,
        target_accepted=True,
    )

"""Rotation of the master key: everything that is sealed, sealed anew under the present one."""

from contextlib import aclosing
from functools import partial

from sqlalchemy import Connection, bindparam, select, tuple_, update

from bellhop_server.store.credentials import place_of
from bellhop_server.store.database import open_database
from bellhop_server.store.migrate import check
from bellhop_server.store.seal import (
    KeyRefused,
    MasterKey,
    SealBroken,
    binding_key_place,
    seal_canary,
    verify_canary,
)
from bellhop_server.store.tables import credentials, devices

# Binding keys that one transaction seals anew: devices that others write wait for it.
_CHUNK = 500


async def reseal(url: str, key: MasterKey) -> int:
    """Seals what former keys have sealed under the present one; returns how many credentials.

    The binding keys of devices come first, some at a time, then all credentials or none: when it was broken off another
    call ends it. On PostgreSQL servers that know both keys may go on meanwhile.

    Raises KeyRefused when a credential cannot be opened, DatabaseRefused, also for a SQLite file in use,
    ServiceUnavailable.
    """
    await check(url)
    async with aclosing(await open_database(url)) as database:
        await database.write(partial(verify_canary, key=key))
        after: tuple[str, str] | None = ("", "")
        while after is not None:
            after = await database.write(partial(_reseal_binding_keys, key=key, after=after))
        return await database.write(partial(_reseal, key=key))


def _reseal_binding_keys(connection: Connection, key: MasterKey, after: tuple[str, str]) -> tuple[str, str] | None:
    """Those of the next devices; returns the last of them, None when there are no more."""
    name = (devices.c.app_id, devices.c.device_id)
    some = (
        select(*name, devices.c.sealed_binding_key)
        .where(tuple_(*name) > tuple_(*after), devices.c.sealed_binding_key.is_not(None))
        .order_by(*name)
        .limit(_CHUNK)
        .with_for_update()
    )
    rows = connection.execute(some).all()
    changed = []
    for app_id, device_id, sealed in rows:
        if key.has_sealed(sealed):
            continue
        place = binding_key_place(app_id, device_id)
        try:
            changed.append({"app": app_id, "device": device_id, "sealed": key.seal(key.open(sealed, *place), *place)})
        except SealBroken:
            # It stamps nothing now and would stamp nothing then: the device gets another with its next registration.
            continue
    if changed:
        this = (devices.c.app_id == bindparam("app")) & (devices.c.device_id == bindparam("device"))
        connection.execute(update(devices).where(this).values(sealed_binding_key=bindparam("sealed")), changed)
    return (rows[-1].app_id, rows[-1].device_id) if len(rows) == _CHUNK else None


def _reseal(connection: Connection, key: MasterKey) -> int:
    count = 0
    # Locked, so that nobody replaces one of them between the look and the write.
    for row in connection.execute(select(credentials).with_for_update()).all():
        if key.has_sealed(row.sealed):
            continue
        place = place_of(row.app_id, row.platform, row.credential_id, row.version)
        try:
            sealed = key.seal(key.open(row.sealed, *place), *place)
        except SealBroken as error:
            raise KeyRefused(
                f"The credential {row.credential_id} of {row.app_id} cannot be opened: {error} Nothing was changed."
            ) from None
        this = (credentials.c.app_id == row.app_id) & (credentials.c.credential_id == row.credential_id)
        connection.execute(update(credentials).where(this).values(sealed=sealed))
        count += 1
    seal_canary(connection, key)
    return count

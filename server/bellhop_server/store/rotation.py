"""Rotation of the master key: everything that is sealed, sealed anew under the present one."""

from contextlib import aclosing
from functools import partial

from sqlalchemy import Connection, select, update

from bellhop_server.store.credentials import place_of
from bellhop_server.store.database import open_database
from bellhop_server.store.migrate import check
from bellhop_server.store.seal import KeyRefused, MasterKey, SealBroken, seal_canary, verify_canary
from bellhop_server.store.tables import credentials


async def reseal(url: str, key: MasterKey) -> int:
    """Seals what former keys have sealed under the present one, all of it or nothing; returns how many credentials.

    On PostgreSQL servers that know both keys may go on meanwhile. Raises KeyRefused when something cannot be opened,
    DatabaseRefused, also for a SQLite file in use, ServiceUnavailable.
    """
    await check(url)
    async with aclosing(await open_database(url)) as database:
        return await database.write(partial(_reseal, key=key))


def _reseal(connection: Connection, key: MasterKey) -> int:
    verify_canary(connection, key)
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

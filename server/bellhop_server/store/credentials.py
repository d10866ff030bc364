"""Provider credentials in SQL, sealed."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, select

from bellhop_server.domain.application import Credential, ProbeResult
from bellhop_server.domain.device import Platform
from bellhop_server.domain.errors import ConcurrentChange
from bellhop_server.store import credential_content
from bellhop_server.store.application_lock import lock_application
from bellhop_server.store.bulk import insert_many
from bellhop_server.store.counter import next_number
from bellhop_server.store.database import Database
from bellhop_server.store.seal import MasterKey
from bellhop_server.store.tables import credentials

_COLUMNS = (
    "app_id",
    "credential_id",
    "platform",
    "version",
    "sealed",
    "update_time",
    "probe_reached",
    "probe_ok",
    "probe_reason",
    "probe_time",
)
_REPLACE = "(app_id, credential_id) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS[2:])

_OF_APPLICATION = (
    select(credentials).where(credentials.c.app_id == bindparam("app")).order_by(credentials.c.credential_id)
)
_MOST_KNOWN = 1000


class SqlCredentials:
    """Provider credentials. Part of `ports.ApplicationStore`."""

    def __init__(self, database: Database, key: MasterKey) -> None:
        self._database = database
        self._key = key
        self._known: dict[tuple[str, str, int, bytes], Credential] = {}

    async def put_credential(self, credential: Credential, replaces: int | None) -> Credential:
        """See `ports.ApplicationStore`. No version is given twice, also not after a deletion."""
        this = (credentials.c.app_id == credential.app_id) & (credentials.c.credential_id == credential.credential_id)

        def put(connection: Connection) -> Credential:
            lock_application(connection, credential.app_id)
            if connection.execute(select(credentials.c.version).where(this)).scalar() != replaces:
                raise ConcurrentChange
            stored = replace(credential, version=next_number(connection, "credential_version"))
            insert_many(connection, credentials, _COLUMNS, [self._row(stored)], _REPLACE)
            return stored

        return await self._database.write(put)

    async def list_credentials(self, app_id: str) -> list[Credential]:
        """See `ports.ApplicationStore`. Raises SealBroken when somebody has meddled with the table."""
        return self.unsealed(await self._database.read(lambda connection: sealed_credentials(connection, app_id)))

    def unsealed(self, rows: Sequence[Row[Any]]) -> list[Credential]:
        """The credentials that rows are. Raises SealBroken."""
        found = []
        for row in rows:
            # Whoever sends asks for them again and again, and each has another version once it changes.
            key = (row.app_id, row.credential_id, row.version, row.sealed)
            credential = self._known.get(key)
            if credential is None:
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                credential = self._known[key] = self._credential(row)
            found.append(credential)
        return found

    async def delete_credential(self, app_id: str, credential_id: str) -> bool:
        """See `ports.ApplicationStore`."""
        this = (credentials.c.app_id == app_id) & (credentials.c.credential_id == credential_id)

        def remove(connection: Connection) -> bool:
            lock_application(connection, app_id)
            return connection.execute(delete(credentials).where(this)).rowcount > 0

        return await self._database.write(remove)

    def _row(self, credential: Credential) -> tuple[Any, ...]:
        probe = credential.probe
        return (
            credential.app_id,
            credential.credential_id,
            credential.platform,
            credential.version,
            self._key.seal(
                credential_content.encode(credential.secret),
                *place_of(credential.app_id, credential.platform, credential.credential_id, credential.version),
            ),
            credential.update_time,
            probe.reached if probe else None,
            probe.ok if probe else None,
            probe.reason if probe else None,
            probe.probe_time if probe else None,
        )

    def _credential(self, row: Row[Any]) -> Credential:
        content = self._key.open(row.sealed, *place_of(row.app_id, row.platform, row.credential_id, row.version))
        return Credential(
            app_id=row.app_id,
            credential_id=row.credential_id,
            platform=Platform(row.platform),
            version=row.version,
            update_time=row.update_time,
            secret=credential_content.decode(row.platform, content),
            probe=None
            if row.probe_time is None
            else ProbeResult(
                ok=row.probe_ok, reason=row.probe_reason, probe_time=row.probe_time, reached=row.probe_reached
            ),
        )


def sealed_credentials(connection: Connection, app_id: str) -> Sequence[Row[Any]]:
    """Those of an application, by credential id, as `SqlCredentials.unsealed` takes them."""
    return connection.execute(_OF_APPLICATION, {"app": app_id}).all()


def place_of(app_id: str, platform: int, credential_id: str, version: int) -> tuple[str | int, ...]:
    """What a credential is sealed for."""
    return "credential", app_id, int(platform), credential_id, version

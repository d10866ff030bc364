"""The fence read: what a hand-over is decided by, as it is at that moment."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Row

from bellhop_server.domain.application import Credential
from bellhop_server.domain.delivery import Reading
from bellhop_server.domain.device import Found
from bellhop_server.store.credentials import sealed_credentials
from bellhop_server.store.database import Database

_FIELDS = ", ".join(f"devices.{name}" for name in Found._fields)

_DEVICES_SQLITE = f"""SELECT {_FIELDS} FROM json_each(?) AS named
  CROSS JOIN devices ON devices.app_id = ? AND devices.device_id = named.value"""  # noqa: S608 - our own names only
_DEVICES_POSTGRESQL = f"""SELECT {_FIELDS} FROM devices
  WHERE app_id = $1 AND device_id = ANY($2::text[])"""  # noqa: S608 - our own names only
_CANCELLED = {
    "sqlite": "SELECT cancel_time FROM messages WHERE ref = ?",
    "postgresql": "SELECT cancel_time FROM messages WHERE ref = $1",
}


class SqlPresence:
    """Who is there to be reached. Part of `ports.MessageStore`."""

    def __init__(self, database: Database, unsealed: Callable[[Sequence[Row[Any]]], list[Credential]]) -> None:
        self._database = database
        self._unsealed = unsealed

    async def read_present(self, app_id: str, message_ref: int, device_ids: Sequence[str]) -> Reading:
        """See `ports.MessageStore`. Each statement sees what was committed before it began."""

        def read(connection: Connection) -> tuple[list[Row[Any]], bool, Sequence[Row[Any]]]:
            dialect = connection.dialect.name
            cancelled = connection.exec_driver_sql(_CANCELLED[dialect], (message_ref,)).scalar() is not None
            sealed = sealed_credentials(connection, app_id)
            if dialect == "sqlite":
                rows = connection.exec_driver_sql(_DEVICES_SQLITE, (json.dumps(device_ids), app_id)).all()
            else:
                rows = connection.exec_driver_sql(_DEVICES_POSTGRESQL, (app_id, list(device_ids))).all()
            return list(rows), cancelled, sealed

        rows, cancelled, sealed = await self._database.read(read)
        return Reading({row[0]: Found._make(row) for row in rows}, cancelled, self._unsealed(sealed))

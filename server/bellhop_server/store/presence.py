"""The fence read: what a hand-over is decided by, as it is at that moment."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Row

from bellhop_server.domain.application import Credential
from bellhop_server.domain.delivery import Reading
from bellhop_server.domain.device import Found
from bellhop_server.store.bulk import hexadecimal, select_many
from bellhop_server.store.credentials import sealed_credentials
from bellhop_server.store.database import Database


def _devices(dialect: str, named: str) -> str:
    # SQLite writes nothing, and not NULL, for the digits of NULL.
    digits = {
        "target_digest": hexadecimal(dialect, "devices.target_digest"),
        "sealed_binding_key": f"nullif({hexadecimal(dialect, 'devices.sealed_binding_key')}, '')",
    }
    shown = {name: f"{expression} AS {name}" for name, expression in digits.items()}
    fields = ", ".join(shown.get(name, f"devices.{name}") for name in Found._fields)
    return f"SELECT {fields} FROM {named}"  # noqa: S608 - our own names only


_DEVICES = {
    "sqlite": _devices(
        "sqlite",
        "json_each(?) AS named CROSS JOIN devices ON devices.device_id = named.value AND devices.app_id = ?",
    ),
    "postgresql": _devices("postgresql", "devices WHERE device_id = ANY($1::text[]) AND app_id = $2"),
}
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

        def read(connection: Connection) -> tuple[Sequence[Sequence[Any]], bool, Sequence[Row[Any]]]:
            dialect = connection.dialect.name
            cancelled = connection.exec_driver_sql(_CANCELLED[dialect], (message_ref,)).scalar() is not None
            sealed = sealed_credentials(connection, app_id)
            ids = json.dumps(device_ids) if dialect == "sqlite" else list(device_ids)
            rows = select_many(connection, _DEVICES[dialect], (ids, app_id), Found._fields)
            return rows, cancelled, sealed

        rows, cancelled, sealed = await self._database.read(read)
        return Reading({row[0]: Found._make(row) for row in rows}, cancelled, self._unsealed(sealed))

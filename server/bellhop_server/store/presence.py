"""The fence read: what a hand-over is decided by, as it is at that moment."""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row

from bellhop_server.domain.application import Credential
from bellhop_server.domain.delivery import Reading
from bellhop_server.domain.device import Found
from bellhop_server.domain.errors import BellhopError
from bellhop_server.store.bulk import hexadecimal, select_many
from bellhop_server.store.credentials import sealed_credentials
from bellhop_server.store.database import Database
from bellhop_server.store.group_writer import GroupWriter


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
    "sqlite": "SELECT ref FROM messages WHERE ref IN (SELECT value FROM json_each(?)) AND cancel_time IS NOT NULL",
    "postgresql": "SELECT ref FROM messages WHERE ref = ANY($1::bigint[]) AND cancel_time IS NOT NULL",
}


class _Question(NamedTuple):
    app_id: str
    message_ref: int
    device_ids: Sequence[str]


class _Found(NamedTuple):
    """`devices`: those of the whole group that are of the application."""

    devices: dict[str, Found]
    cancelled: bool
    sealed: Sequence[Row[Any]]


class SqlPresence:
    """Who is there to be reached. Part of `ports.MessageStore`."""

    def __init__(self, database: Database, unsealed: Callable[[Sequence[Row[Any]]], list[Credential]]) -> None:
        self._unsealed = unsealed
        # A group is read once it has formed, so each question is older than what answers it.
        self._readings = GroupWriter[_Question, _Found](database.read, _read)

    async def read_present(self, app_id: str, message_ref: int, device_ids: Sequence[str]) -> Reading:
        """See `ports.MessageStore`. Each statement sees what was committed before it began."""
        devices, cancelled, sealed = await self._readings.submit(_Question(app_id, message_ref, device_ids))
        return Reading(devices, cancelled, self._unsealed(sealed))

    async def close_presence(self) -> None:
        """Finishes what was asked and takes no more."""
        await self._readings.aclose()


def _read(connection: Connection, questions: list[_Question]) -> list[_Found | BellhopError]:
    dialect = connection.dialect.name
    refs = sorted({question.message_ref for question in questions})
    named: Any = json.dumps(refs) if dialect == "sqlite" else refs
    cancelled = set(connection.exec_driver_sql(_CANCELLED[dialect], (named,)).scalars())
    ids: dict[str, list[str]] = {}
    for question in questions:
        ids.setdefault(question.app_id, []).extend(question.device_ids)
    sealed = {app_id: sealed_credentials(connection, app_id) for app_id in ids}
    devices = {}
    for app_id, device_ids in ids.items():
        wanted = list(dict.fromkeys(device_ids))
        listed = json.dumps(wanted) if dialect == "sqlite" else wanted
        rows = select_many(connection, _DEVICES[dialect], (listed, app_id), Found._fields)
        devices[app_id] = {row[0]: Found._make(row) for row in rows}
    return [
        _Found(devices[question.app_id], question.message_ref in cancelled, sealed[question.app_id])
        for question in questions
    ]

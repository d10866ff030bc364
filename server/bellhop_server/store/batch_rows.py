"""Rows of batches. Their items are one text, JSON by columns: a row for each would cost many times as much."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection

from bellhop_server.domain.batch import Item, NewBatch
from bellhop_server.store.bulk import insert_many
from bellhop_server.store.tables import batches

VERSION = 1
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))

_COLUMNS = (
    "message_ref",
    "app_id",
    "priority",
    "turn",
    "retry",
    "item_count",
    "started",
    "items",
)

# Column of the text, field of an item, and what the field holds where the column is left out.
_ALWAYS = (("d", "device_id"), ("e", "binding_epoch"), ("t", "target_digest"), ("p", "platform"))
_SOMETIMES: tuple[tuple[str, str, Any], ...] = (
    ("u", "user_id", ""),
    ("a", "attempts", 0),
    ("q", "doubts", 0),
    ("n", "unsent", 0),
    ("o", "obstacle", ""),
    ("s", "obstacle_status", 0),
    ("b", "by_user", False),
)


def insert_batches(connection: Connection, new: Iterable[tuple[int, str, NewBatch]]) -> None:
    """Writes batches of (message ref, application)."""
    rows = [
        (
            ref,
            app_id,
            int(batch.priority),
            batch.turn,
            batch.retry,
            len(batch.items),
            False,
            pack(batch.items),
        )
        for ref, app_id, batch in new
    ]
    insert_many(connection, batches, _COLUMNS, rows)


def pack(items: Sequence[Item]) -> str:
    """Leaves out a column that holds nothing but defaults."""
    columns: dict[str, Any] = {"v": VERSION}
    for column, name in _ALWAYS:
        columns[column] = [getattr(item, name) for item in items]
    for column, name, default in _SOMETIMES:
        values = [getattr(item, name) for item in items]
        if any(value != default for value in values):
            columns[column] = values
    return _JSON.encode(columns)


def unpack(text: str) -> list[Item]:
    """What `pack` was given. Raises ValueError for a version that this one does not know."""
    columns = json.loads(text)
    if columns["v"] != VERSION:
        raise ValueError(f"a batch of version {columns['v']}")
    count = len(columns["d"])
    users, *rest = [columns.get(column) or [default] * count for column, _, default in _SOMETIMES]
    return list(map(Item, columns["d"], users, columns["e"], columns["t"], columns["p"], *rest))

"""Many rows in one statement: lists of values on SQLite, arrays on PostgreSQL."""

import json
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    delete,
    select,
    tuple_,
)

# Few different statements, each prepared once.
_SQLITE_ROWS = (100, 20, 4, 1)

# The first that fits; subclasses before what they derive from.
_ARRAYS = (
    (SmallInteger, "smallint[]"),
    (BigInteger, "bigint[]"),
    (Integer, "integer[]"),
    (Boolean, "boolean[]"),
    (LargeBinary, "bytea[]"),
    (String, "text[]"),
)


def insert_many(
    connection: Connection,
    table: Table,
    columns: tuple[str, ...],
    rows: Sequence[tuple[Any, ...]],
    on_conflict: str = "",
) -> int:
    """Inserts tuples of plain values in the order of `columns`; returns how many rows were really written.

    `on_conflict` is what follows ON CONFLICT, in words that both databases know: `DO NOTHING`, or
    `(app_id, device_id) DO UPDATE SET locale = excluded.locale`. With DO UPDATE no two rows may have the same key.
    Sort the rows by key where another transaction may write the same ones, so that locks are taken in one order.
    Raises IntegrityError; on PostgreSQL the transaction is over then.
    """
    if not rows:
        return 0
    if connection.dialect.name == "sqlite":
        return _insert_into_sqlite(connection, table, columns, rows, on_conflict)
    statement = _postgresql_insert(table, columns, on_conflict)
    return connection.exec_driver_sql(statement, tuple(map(list, zip(*rows, strict=True)))).rowcount


def select_many(
    connection: Connection, statement: str, parameters: tuple[Any, ...], columns: Sequence[str]
) -> Sequence[Sequence[Any]]:
    """The rows of a statement that gives these columns: numbers and texts, for JSON has no bytes.

    On SQLite they come as one row of JSON, for the reason that `_insert_into_sqlite` tells.
    """
    if connection.dialect.name == "sqlite":
        names = ", ".join(columns)
        grouped = f"SELECT json_group_array(json_array({names})) FROM ({statement})"  # noqa: S608 - our own names
        rows: list[list[Any]] = json.loads(connection.exec_driver_sql(grouped, parameters).scalar_one())
        return rows
    return connection.exec_driver_sql(statement, parameters).all()


def select_by_keys(
    connection: Connection,
    table: Table,
    columns: tuple[str, ...],
    keys: Sequence[tuple[Any, ...]],
    sqlite_also: str = "",
) -> Sequence[Sequence[Any]]:
    """`columns` of the rows whose first columns, as many as a key has parts, are one of `keys`: numbers and texts. They
    begin an index of the table; `sqlite_also` is a condition on `found` that makes SQLite prefer it.
    """
    parts = len(keys[0])
    if connection.dialect.name == "sqlite":
        return connection.exec_driver_sql(
            _sqlite_by_keys(table, columns, parts, sqlite_also), (json.dumps(keys),)
        ).all()
    arrays = tuple(map(list, zip(*keys, strict=True)))
    return connection.exec_driver_sql(_postgresql_by_keys(table, columns, parts), arrays).all()


@cache
def _sqlite_by_keys(table: Table, columns: tuple[str, ...], parts: int, also: str) -> str:
    same = [f"found.{name} = json_extract(named.value, '$[{place}]')" for place, name in enumerate(columns[:parts])]
    where = " AND ".join([*same, *([also] if also else [])])
    return _found(columns, f"json_each(?) AS named CROSS JOIN {table.name} AS found ON {where}")


@cache
def _postgresql_by_keys(table: Table, columns: tuple[str, ...], parts: int) -> str:
    key = columns[:parts]
    arrays = ", ".join(f"${place}::{array_type(table, name)}" for place, name in enumerate(key, 1))
    same = " AND ".join(f"found.{name} = named.{name}" for name in key)
    return _found(columns, f"unnest({arrays}) AS named ({', '.join(key)}) JOIN {table.name} AS found ON {same}")


def _found(columns: tuple[str, ...], source: str) -> str:
    return f"SELECT {', '.join(f'found.{name}' for name in columns)} FROM {source}"  # noqa: S608 - our own names


def hexadecimal(dialect: str, column: str) -> str:
    """SQL for bytes as hexadecimal digits, in lower case."""
    return f"lower(hex({column}))" if dialect == "sqlite" else f"encode({column}, 'hex')"


def delete_some(connection: Connection, table: Table, condition: ColumnElement[bool], limit: int) -> int:
    """Deletes at most `limit` rows; returns how many."""
    key = tuple_(*table.primary_key)
    some = select(*table.primary_key).where(condition).limit(limit)
    # The condition once more, since a row may have been changed while it was waited for.
    return connection.execute(delete(table).where(key.in_(some), condition)).rowcount


def _insert_into_sqlite(
    connection: Connection, table: Table, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]], on_conflict: str
) -> int:
    """Many rows a statement: SQLite's driver hands over the interpreter's lock and takes it back with every row, and to
    take it from a busy event loop costs many times what a row does. But not where rows may have to be changed: that is
    slower.
    """
    if on_conflict and not on_conflict.endswith("DO NOTHING"):
        return connection.exec_driver_sql(_sqlite_insert(table, columns, 1, on_conflict), list(rows)).rowcount
    written = start = 0
    for size in _SQLITE_ROWS:
        while len(rows) - start >= size:
            values = tuple(chain.from_iterable(rows[start : start + size]))
            statement = _sqlite_insert(table, columns, size, on_conflict)
            written += connection.exec_driver_sql(statement, values).rowcount
            start += size
    return written


@cache
def _sqlite_insert(table: Table, columns: tuple[str, ...], size: int, on_conflict: str) -> str:
    places = f"({', '.join('?' * len(columns))})"
    return _insert(table, columns, f"VALUES {', '.join([places] * size)}", on_conflict)


@cache
def _postgresql_insert(table: Table, columns: tuple[str, ...], on_conflict: str) -> str:
    arrays = ", ".join(f"${place}::{array_type(table, name)}" for place, name in enumerate(columns, 1))
    return _insert(table, columns, f"SELECT * FROM unnest({arrays})", on_conflict)  # noqa: S608 - our own names


def array_type(table: Table, column: str) -> str:
    """The PostgreSQL array type that takes a column's values as a parameter, such as `bigint[]`."""
    kind = table.c[column].type
    return next(name for base, name in _ARRAYS if isinstance(kind, base))


def _insert(table: Table, columns: tuple[str, ...], source: str, on_conflict: str) -> str:
    conflict = f" ON CONFLICT {on_conflict}" if on_conflict else ""
    return f"INSERT INTO {table.name} ({', '.join(columns)}) {source}{conflict}"

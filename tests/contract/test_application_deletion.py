"""Nothing of a deleted application stays, and nothing of another one goes."""

import asyncio
from functools import partial
from typing import Any

import pytest
from sqlalchemy import BigInteger, Boolean, Column, Connection, Integer, LargeBinary, SmallInteger, Table, func, select

from bellhop_server.domain.application import Application, Policy, Secret, SecretKind
from bellhop_server.domain.errors import ApplicationNotFound, ServiceUnavailable
from bellhop_server.store import applications as module
from bellhop_server.store.bulk import insert_many
from bellhop_server.store.database import Database
from bellhop_server.store.sql_store import SqlStore
from bellhop_server.store.tables import applications, counters, messages, metadata, seals

# These belong to no application.
SHARED = {counters, seals}
REFS = {"shop": (1, 2, 3), "other": (7, 8, 9)}


def value(column: Column[Any], app_id: str, ref: int, number: int) -> Any:
    """Something that the column takes; different for each number where the table needs it."""
    if column.name == "app_id":
        return app_id
    if column.name in ("message_ref", "ref"):
        return ref
    if isinstance(column.type, LargeBinary):
        return b"%032d" % (ref * 1000 + number)
    if isinstance(column.type, Boolean):
        return False
    if isinstance(column.type, SmallInteger):
        return 1 + number % 5
    if isinstance(column.type, BigInteger | Integer):
        return ref * 1000 + number
    return f"v{ref * 1000 + number}"


def fill(connection: Connection, table: Table, app_id: str) -> None:
    columns = tuple(column.name for column in table.c)
    per_message = 1 if table is messages or "ref" in table.c else 5
    rows = {
        tuple(value(column, app_id, ref, number) for column in table.c): None
        for ref in REFS[app_id]
        for number in range(per_message)
    }
    insert_many(connection, table, columns, list(rows), "DO NOTHING")


def fill_all(connection: Connection, app_id: str) -> None:
    for table in metadata.sorted_tables:
        if table is not applications and table not in SHARED:
            fill(connection, table, app_id)


def sizes(connection: Connection, app_id: str) -> dict[str, int]:
    found = {}
    for table in metadata.sorted_tables:
        if table not in SHARED:
            own = table.c.app_id == app_id if "app_id" in table.c else table.c.message_ref.in_(REFS[app_id])
            found[table.name] = connection.execute(select(func.count()).select_from(table).where(own)).scalar_one()
    return found


@pytest.fixture
async def filled(store: SqlStore, database: Database) -> SqlStore:
    """Two applications with some rows in every table."""
    for app_id in REFS:
        await store.create_application(Application(app_id, "", Policy(), 1, 1), [])
        await database.write(partial(fill_all, app_id=app_id))
        assert all((await database.read(partial(sizes, app_id=app_id))).values())
    return store


async def test_deletion_takes_everything_of_it_and_of_it_alone(
    filled: SqlStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", 2)
    monkeypatch.setattr(module, "_MESSAGES", 2)
    kept = await database.read(partial(sizes, app_id="other"))

    assert await filled.delete_application("shop")
    assert not any((await database.read(partial(sizes, app_id="shop"))).values())
    assert kept == await database.read(partial(sizes, app_id="other"))
    assert not await filled.delete_application("shop")
    with pytest.raises(ApplicationNotFound):
        await filled.get_application("shop")


async def test_two_that_delete_at_once_both_succeed(filled: SqlStore, database: Database) -> None:
    await asyncio.gather(*(filled.delete_application("shop") for _ in range(4)))

    assert not any((await database.read(partial(sizes, app_id="shop"))).values())


async def test_broken_off_deletion_is_ended_by_another(
    filled: SqlStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    write = database.write

    async def break_off(fn: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 4:
            raise ServiceUnavailable("store")
        return await write(fn)

    with monkeypatch.context() as patch:
        patch.setattr(database, "write", break_off)
        with pytest.raises(ServiceUnavailable):
            await filled.delete_application("shop")
    # Whatever was reached, nobody gets in any more and nothing leaves.
    assert await filled.list_secrets("shop", 0, "", 10) == []
    assert await filled.list_credentials("shop") == []

    assert await filled.delete_application("shop")
    assert not any((await database.read(partial(sizes, app_id="shop"))).values())


async def test_new_application_inherits_nothing(filled: SqlStore, database: Database) -> None:
    await filled.delete_application("shop")
    # As a registration would that was under way during the deletion.
    await database.write(partial(fill_all, app_id="shop"))
    secret = Secret("s", "shop", SecretKind.APP, bytes(32), "bha_", 5)
    await filled.create_application(Application("shop", "", Policy(), 5, 5), [secret])

    left = await database.read(partial(sizes, app_id="shop"))
    assert {name: count for name, count in left.items() if count} == {"applications": 1, "secrets": 1}

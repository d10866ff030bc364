"""Migrations make the tables that the code describes, on both databases."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from bellhop_server.store import migrate
from bellhop_server.store.database import open_database
from bellhop_server.store.failures import DatabaseRefused
from bellhop_server.store.migrate import check, upgrade
from bellhop_server.store.seal import MasterKey
from bellhop_server.store.sql_store import SqlStore
from bellhop_server.store.tables import metadata
from tests.conftest import BACKENDS
from tests.postgres import PostgresServer
from tests.postgres_databases import PostgresDatabases


@pytest.fixture(params=BACKENDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without anything in it, on each backend in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    server: PostgresServer = request.getfixturevalue("postgresql")
    databases: PostgresDatabases = request.getfixturevalue("postgresql_databases")
    return server.url(databases.make_empty())


async def read(url: str, fn: Callable[[Connection], Any]) -> Any:
    database = await open_database(url)
    try:
        return await database.read(fn)
    finally:
        await database.aclose()


async def execute(url: str, statement: str) -> None:
    database = await open_database(url)
    await database.write(lambda connection: connection.execute(text(statement)).rowcount)
    await database.aclose()


def differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, metadata))


def schema(connection: Connection) -> list[tuple[Any, ...]]:
    """Also what `compare_metadata` does not look at: defaults, collations, conditions and directions of indexes."""
    if connection.dialect.name == "sqlite":
        # By name, since a column that was added later stands last. What else a table's text says follows "strict".
        statement = (
            'SELECT tables.name, columns.name, columns.type, columns."notnull", columns.dflt_value, columns.pk,'
            " tables.wr, tables.strict FROM pragma_table_list AS tables JOIN pragma_table_xinfo(tables.name) AS columns"
            " WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite_%'"
            " AND tables.name <> 'alembic_version'"
            " UNION ALL SELECT name, sql, sql LIKE '%AUTOINCREMENT%', '', '', '', '', '' FROM sqlite_schema"
            " WHERE type = 'index' AND sql IS NOT NULL AND tbl_name <> 'alembic_version'"
            " UNION ALL SELECT name, sql LIKE '%AUTOINCREMENT%', '', '', '', '', '', '' FROM sqlite_schema"
            " WHERE type = 'table' AND name NOT IN ('alembic_version', 'sqlite_sequence')"
        )
    else:
        statement = (
            "SELECT table_name, column_name, data_type, character_maximum_length, collation_name, column_default"
            " FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'"
            " UNION ALL SELECT tablename, indexname, indexdef, NULL, NULL, NULL FROM pg_indexes"
            " WHERE schemaname = 'public' AND tablename <> 'alembic_version' ORDER BY 1, 2"
        )
    rows = connection.execute(text(statement))
    return [tuple(" ".join(value.split()) if isinstance(value, str) else value for value in row) for row in rows]


async def test_migrations_make_the_tables_of_the_code(empty_url: str) -> None:
    await upgrade(empty_url)

    assert await read(empty_url, differences) == []


async def test_migrations_make_them_to_the_letter(empty_url: str, tmp_path: Path) -> None:
    await upgrade(empty_url)
    migrated = await read(empty_url, schema)
    database = await open_database(empty_url)
    await database.write(metadata.drop_all)
    await database.write(metadata.create_all)
    await database.aclose()

    assert sorted(map(str, await read(empty_url, schema))) == sorted(map(str, migrated))


async def test_second_upgrade_does_nothing(empty_url: str) -> None:
    await upgrade(empty_url)
    before = await read(empty_url, schema)
    await upgrade(empty_url)
    await check(empty_url)

    assert await read(empty_url, schema) == before


async def test_upgrades_at_the_same_time_take_turns(empty_url: str) -> None:
    program = "import asyncio, sys; from bellhop_server.store.migrate import upgrade; asyncio.run(upgrade(sys.argv[1]))"
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", program, empty_url, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    outputs = [(await process.communicate())[1].decode() for process in processes]

    # A SQLite file is one process's at a time: the others are told so.
    assert all(not output or ("DatabaseRefused" in output and "in use" in output) for output in outputs)
    assert "" in outputs
    if empty_url.startswith("postgresql"):
        assert outputs == [""] * 3
    await check(empty_url)


async def test_database_without_the_tables_is_told_to_be_old(empty_url: str) -> None:
    with pytest.raises(DatabaseRefused, match="bellhop migrate"):
        await check(empty_url)


async def test_newer_database_is_refused_and_left_alone(database_url: str) -> None:
    await execute(database_url, "UPDATE alembic_version SET version_num = '9999'")
    for refusing in (check, upgrade):
        with pytest.raises(DatabaseRefused, match="newer"):
            await refusing(database_url)
    with pytest.raises(DatabaseRefused, match="newer"):
        async with SqlStore.open(database_url, MasterKey(bytes(32))):
            raise AssertionError("opened a newer database")


async def test_interrupted_upgrade_leaves_nothing(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = migrate._upgrade

    def break_off(connection: Connection) -> None:
        whole(connection)
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(migrate, "_upgrade", break_off)
        with pytest.raises(RuntimeError):
            await upgrade(empty_url)
    assert await read(empty_url, schema) == []

    await upgrade(empty_url)
    await check(empty_url)


async def test_store_makes_an_embedded_file_and_leaves_a_server_to_its_operator(empty_url: str) -> None:
    if empty_url.startswith("sqlite"):
        async with SqlStore.open(empty_url, MasterKey(bytes(32))) as store:
            assert await store.list_applications("", 1) == []
            assert store.exclusive
    else:
        with pytest.raises(DatabaseRefused, match="bellhop migrate"):
            async with SqlStore.open(empty_url, MasterKey(bytes(32))):
                raise AssertionError("opened an empty database")

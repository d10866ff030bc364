"""What is special about PostgreSQL: conflicts, standbys, settings, URLs."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Connection

from bellhop_server.domain.errors import ConcurrentChange, ServiceUnavailable
from bellhop_server.store.database import open_database, postgresql_dsn
from bellhop_server.store.failures import DatabaseRefused
from bellhop_server.store.postgresql import ATTEMPTS, PostgresqlDatabase
from tests.postgres import PostgresServer


@pytest.fixture
async def database(postgresql_url: str) -> AsyncIterator[PostgresqlDatabase]:
    """A database with the tables in it."""
    database = await PostgresqlDatabase.open(postgresql_url)
    yield database
    await database.aclose()


class Conflicting:
    """Loses against other transactions so many times."""

    def __init__(self, conflicts: int, state: str) -> None:
        self.calls = 0
        self._conflicts = conflicts
        self._state = state

    def __call__(self, connection: Connection) -> str:
        self.calls += 1
        connection.exec_driver_sql("INSERT INTO counters (name, value) VALUES ('a', 1)")
        if self.calls <= self._conflicts:
            connection.exec_driver_sql(f"DO $$ BEGIN RAISE SQLSTATE '{self._state}'; END $$")
        return "won"


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_conflict_is_tried_again(database: PostgresqlDatabase, state: str) -> None:
    lucky = Conflicting(ATTEMPTS - 1, state)
    assert await database.write(lucky) == "won"
    assert lucky.calls == ATTEMPTS

    unlucky = Conflicting(ATTEMPTS, state)
    await database.write(lambda connection: connection.exec_driver_sql("DELETE FROM counters").rowcount)
    with pytest.raises(ConcurrentChange):
        await database.write(unlucky)
    assert unlucky.calls == ATTEMPTS


async def test_dead_connection_in_the_pool_is_nobody_s_error(
    database: PostgresqlDatabase, postgresql: PostgresServer
) -> None:
    def add(connection: Connection) -> None:
        connection.exec_driver_sql("UPDATE counters SET value = value + 1")

    await asyncio.gather(*(database.write(add) for _ in range(4)))
    await database.read(lambda connection: connection.exec_driver_sql("SELECT 1").scalar())
    await asyncio.to_thread(
        postgresql.execute,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'bellhop'",
    )

    await asyncio.gather(*(database.write(add) for _ in range(8)))
    assert await database.read(lambda connection: connection.exec_driver_sql("SELECT 1").scalar()) == 1


async def test_interrupted_commit_is_not_repeated(database: PostgresqlDatabase) -> None:
    calls = 0

    def die_in_commit(connection: Connection) -> None:
        nonlocal calls
        calls += 1
        connection.exec_driver_sql("INSERT INTO counters (name, value) VALUES ('a', 1)")
        connection.exec_driver_sql(
            "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END'"
        )
        connection.exec_driver_sql(
            "CREATE CONSTRAINT TRIGGER die AFTER INSERT ON counters DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION die()"
        )
        connection.exec_driver_sql("INSERT INTO counters (name, value) VALUES ('b', 1)")

    with pytest.raises(ServiceUnavailable):
        await database.write(die_in_commit)
    assert calls == 1


async def test_standby_is_refused(postgresql: PostgresServer, postgresql_url: str) -> None:
    with postgresql.standby(), pytest.raises(DatabaseRefused, match="standby"):
        await open_database(postgresql_url)
    await (await open_database(postgresql_url)).aclose()


async def test_server_that_forgets_is_refused(postgresql: PostgresServer, postgresql_url: str) -> None:
    name = postgresql_url.rpartition("/")[2]
    await asyncio.to_thread(postgresql.execute, f"ALTER DATABASE {name} SET synchronous_commit = off")
    with pytest.raises(DatabaseRefused, match="synchronous_commit"):
        await open_database(postgresql_url)


async def test_other_encodings_are_refused(postgresql: PostgresServer) -> None:
    name = "bellhop_latin"
    await asyncio.to_thread(postgresql.execute, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1'")
    with pytest.raises(DatabaseRefused, match="UTF8"):
        await open_database(postgresql.url(name))


async def test_server_that_cannot_be_reached_is_unavailable(postgresql: PostgresServer) -> None:
    with pytest.raises(ServiceUnavailable):
        await open_database(postgresql.url("missing"))
    with pytest.raises(ServiceUnavailable):
        await open_database("postgresql://postgres@127.0.0.1:1/postgres")


async def test_every_form_of_url_is_taken(postgresql_url: str) -> None:
    rest = postgresql_url.removeprefix("postgresql://")
    for url in (f"postgres://{rest}", f"postgresql+asyncpg://{rest}", f"postgresql://{rest}?sslmode=disable"):
        await (await open_database(url)).aclose()


async def test_url_that_makes_no_sense_is_refused_without_its_password() -> None:
    with pytest.raises(DatabaseRefused) as refused:
        await open_database("postgresql://bellhop:precious@host:port/database")
    assert "precious" not in str(refused.value)
    assert postgresql_dsn("postgres://a:b@c/d") == "postgresql://a:b@c/d"

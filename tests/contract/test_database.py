"""What both databases promise to the functions that run on them."""

import asyncio
import traceback
from collections.abc import Callable

import pytest
import uvloop
from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from structlog.testing import capture_logs

from bellhop_server.domain.errors import Overloaded, SecretNotFound, ServiceUnavailable
from bellhop_server.store import postgresql, sqlite
from bellhop_server.store.bulk import delete_some, insert_many
from bellhop_server.store.database import Database, open_database
from bellhop_server.store.failures import StatementFailed
from bellhop_server.store.tables import batches, counters, results, seals
from tests.contract.backstage import Backstage


def add(name: str, value: int = 1) -> Callable[[Connection], None]:
    def write(connection: Connection) -> None:
        connection.execute(insert(counters).values(name=name, value=value))

    return write


def names(connection: Connection) -> list[str]:
    return list(connection.execute(select(counters.c.name).order_by(counters.c.name)).scalars())


async def settle() -> None:
    """Lets everything that is ready run up to where it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_write_is_committed_when_it_returns(database: Database, backstage: Backstage) -> None:
    await database.write(add("a", 7))

    assert backstage.execute("SELECT name, value FROM counters") == [("a", 7)]


async def test_write_returns_what_the_function_returns(database: Database) -> None:
    def take(connection: Connection) -> int:
        add("a", 1)(connection)
        statement = update(counters).values(value=counters.c.value + 1).returning(counters.c.value)
        return int(connection.execute(statement).scalar_one())

    assert await database.write(take) == 2


async def test_nothing_is_kept_of_a_function_that_raises(database: Database) -> None:
    def fail(connection: Connection) -> None:
        add("a")(connection)
        raise SecretNotFound("s")

    with pytest.raises(SecretNotFound):
        await database.write(fail)
    assert await database.read(names) == []


async def test_one_bad_write_does_not_sink_those_beside_it(database: Database) -> None:
    await database.write(add("n3"))
    outcomes = await asyncio.gather(
        *(database.write(add(f"n{number}")) for number in range(8)),
        database.write(lambda connection: 1 // 0),
        return_exceptions=True,
    )

    assert [type(outcome) for outcome in outcomes if outcome is not None] == [StatementFailed, ZeroDivisionError]
    assert isinstance(outcomes[3], StatementFailed)
    assert await database.read(names) == [f"n{number}" for number in range(8)]


async def test_integrity_error_can_be_caught_inside_the_function(database: Database) -> None:
    await database.write(add("a"))

    def try_twice(connection: Connection) -> str:
        try:
            with connection.begin_nested():
                add("a")(connection)
        except IntegrityError:
            add("b")(connection)
            return "taken"
        return "free"

    assert await database.write(try_twice) == "taken"
    assert await database.read(names) == ["a", "b"]


async def test_each_statement_of_a_read_sees_what_was_committed_before_it(
    database: Database, backstage: Backstage
) -> None:
    def read(connection: Connection) -> tuple[list[str], list[str]]:
        before = names(connection)
        backstage.execute("INSERT INTO counters (name, value) VALUES ('a', 1)")
        return before, names(connection)

    assert await database.read(read) == ([], ["a"])


async def test_reading_cannot_write(database: Database) -> None:
    for _ in range(2):
        with pytest.raises((ServiceUnavailable, StatementFailed)):
            await database.read(add("a"))

    await database.write(add("b"))
    assert await database.read(names) == ["b"]


async def test_write_whose_caller_has_gone_before_its_turn_is_dropped(database: Database, backstage: Backstage) -> None:
    with backstage.blocked():
        writes = [asyncio.create_task(database.write(add(f"n{number}"))) for number in range(8)]
        await settle()
        writes[7].cancel()
        await settle()
        assert writes[7].cancelled()
    await asyncio.gather(*writes[:7])

    assert await database.read(names) == [f"n{number}" for number in range(7)]


async def test_more_than_can_wait_is_refused(
    database: Database, backstage: Backstage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "WAITING_LIMIT", 10)
    monkeypatch.setattr(postgresql, "WAITING_LIMIT", 10)
    with backstage.blocked():
        writes = [asyncio.create_task(database.write(add(f"n{number:02}"))) for number in range(300)]
        await settle()
        refused = [write for write in writes if write.done()]
        assert refused
        assert all(isinstance(write.exception(), Overloaded) for write in refused)
    taken = [number for number, write in enumerate(writes) if write not in refused]
    await asyncio.gather(*(writes[number] for number in taken))

    assert await database.read(names) == sorted(f"n{number:02}" for number in taken)


async def test_database_that_is_away_is_told_so_and_comes_back(database: Database, backstage: Backstage) -> None:
    await database.write(add("before"))
    with capture_logs() as logs:
        with backstage.gone():
            for _ in range(2):
                with pytest.raises(ServiceUnavailable) as refused:
                    await database.write(add("meanwhile"))
                assert refused.value.metadata == {"cause": "store"}
        await database.write(add("after"))

    assert await database.read(names) == ["after", "before"]
    assert [log["event"] for log in logs] == ["the database is away", "the database is back"]


async def test_group_that_met_an_outage_is_refused_as_a_whole(database: Database, backstage: Backstage) -> None:
    await database.write(add("before"))
    with backstage.gone():
        outcomes = await asyncio.gather(
            *(database.write(add(f"n{number}")) for number in range(20)), return_exceptions=True
        )
    assert {type(outcome) for outcome in outcomes} == {ServiceUnavailable}
    assert await database.read(names) == ["before"]


async def test_locked_too_long_is_an_outage(
    database_url: str, backstage: Backstage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_MS", 20)
    monkeypatch.setattr(postgresql, "LOCK_TIMEOUT_MS", 20)
    database = await open_database(database_url)
    with backstage.blocked(), pytest.raises(ServiceUnavailable):
        await database.write(add("a"))
    await database.write(add("b"))

    assert await database.read(names) == ["b"]
    await database.aclose()


async def test_no_error_shows_a_value(database: Database) -> None:
    value = b"bhd_precious"
    row = (value.decode(), value)
    seal = [row]

    def twice(connection: Connection) -> None:
        insert_many(connection, seals, ("name", "sealed"), seal)
        insert_many(connection, seals, ("name", "sealed"), seal)

    def core(connection: Connection) -> None:
        connection.execute(insert(seals).values(name=row[0], sealed=value))
        connection.execute(insert(seals).values(name=row[0], sealed=value))

    def wrong_type(connection: Connection) -> None:
        connection.execute(insert(counters).values(name="a", value=row[0] * 10))
        raise ValueError("SQLite takes it")

    def no_such_column(connection: Connection) -> None:
        connection.exec_driver_sql("SELECT nothing FROM seals")

    for fn in (twice, core, wrong_type, no_such_column):
        with capture_logs() as logs, pytest.raises((StatementFailed, ValueError)) as failed:
            await database.write(fn)
        told = "".join(traceback.format_exception(failed.value)) + repr(failed.value) + repr(logs)
        assert "precious" not in told
        assert not isinstance(failed.value, DBAPIError)
    assert "SELECT nothing FROM seals" in str(failed.value)


async def test_closing_finishes_what_was_taken_and_takes_no_more(database_url: str, backstage: Backstage) -> None:
    database = await open_database(database_url)
    writes = [asyncio.create_task(database.write(add(f"n{number}"))) for number in range(4)]
    await settle()
    await database.aclose()
    assert all(write.done() and write.exception() is None for write in writes)

    with pytest.raises(ServiceUnavailable):
        await database.write(add("late"))
    with pytest.raises(ServiceUnavailable):
        await database.read(names)
    await database.aclose()
    assert backstage.execute("SELECT count(*) FROM counters") == [(4,)]


def test_it_works_on_uvloop_as_well(database_url: str) -> None:
    async def use() -> list[str]:
        database = await open_database(database_url)
        await asyncio.gather(*(database.write(add(f"n{number}")) for number in range(20)))
        found = await database.read(names)
        await database.aclose()
        return found

    assert uvloop.run(use()) == sorted(f"n{number}" for number in range(20))


async def test_many_rows_of_every_type_are_inserted_at_once(database: Database) -> None:
    columns = tuple(column.name for column in results.c)
    rows = [
        (1, seq, f"d{seq}", "ü" * 512, bytes([seq]) * 32, 1, 2, 'so "{}",\n\\', 410, "", 3, 2**62, 0)
        for seq in range(200)
    ]
    again = [(1, 900 + seq, *row[2:]) for seq, row in enumerate(rows)]

    assert await database.write(lambda connection: insert_many(connection, results, columns, rows)) == 200
    assert await database.write(lambda connection: insert_many(connection, results, columns, again, "DO NOTHING")) == 0
    assert await database.write(lambda connection: insert_many(connection, results, columns, [])) == 0
    statement = select(results).order_by(results.c.seq)
    assert rows == [tuple(row) for row in await database.read(lambda connection: connection.execute(statement).all())]


async def test_nulls_and_truths_are_inserted_too(database: Database) -> None:
    fixed = ("batch_id", "message_ref", "app_id", "priority", "turn", "retry", "item_count", "items")
    columns = (*fixed, "started")
    rows = [(number, 1, "shop", 1, 1, number % 2 == 0, 1, "[]", True) for number in (1, 2)]
    await database.write(lambda connection: insert_many(connection, batches, columns, rows))

    statement = select(batches.c.retry, batches.c.started, batches.c.worker).order_by(batches.c.batch_id)
    found = await database.read(lambda connection: connection.execute(statement).all())
    assert [tuple(row) for row in found] == [(False, True, ""), (True, True, "")]


async def test_deletion_takes_no_more_rows_than_it_may(database: Database) -> None:
    rows = [(f"n{number}", number) for number in range(10)]
    await database.write(lambda connection: insert_many(connection, counters, ("name", "value"), rows))
    some = counters.c.value < 5
    deleted = [await database.write(lambda connection: delete_some(connection, counters, some, 3)) for _ in range(3)]

    assert deleted == [3, 2, 0]
    assert await database.read(names) == [f"n{number}" for number in range(5, 10)]
    await database.write(lambda connection: connection.execute(delete(counters)).rowcount)

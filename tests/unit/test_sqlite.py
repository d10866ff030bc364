"""What is special about SQLite: one file, one process, one writing thread."""

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event, insert, select

from bellhop_server.domain.errors import ServiceUnavailable
from bellhop_server.store import sqlite
from bellhop_server.store.database import open_database, sqlite_path
from bellhop_server.store.failures import DatabaseRefused
from bellhop_server.store.migrate import upgrade
from bellhop_server.store.sqlite import SqliteDatabase
from bellhop_server.store.tables import counters


@pytest.fixture
def path(sqlite_url: str) -> Path:
    """A database file with the tables in it."""
    path = sqlite_path(sqlite_url)
    assert path is not None
    return path


@pytest.fixture
async def database(path: Path) -> AsyncIterator[SqliteDatabase]:
    """That file, opened."""
    database = await SqliteDatabase.open(path)
    yield database
    await database.aclose()


def add(name: str) -> Callable[[Connection], int]:
    return lambda connection: connection.execute(insert(counters).values(name=name, value=1)).rowcount


async def test_writes_that_wait_share_one_commit(database: SqliteDatabase, commits: list[Connection]) -> None:
    go = threading.Event()
    first = asyncio.create_task(database.write(lambda connection: go.wait()))
    await asyncio.sleep(0)
    # The writing thread is busy with the first one, or will be: the others form the next group, in either case one.
    writes = [asyncio.create_task(database.write(add(f"n{number}"))) for number in range(100)]
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(first, *writes)

    assert len(commits) <= 2
    count = await database.read(lambda connection: len(connection.execute(select(counters)).all()))
    assert count == 100


async def test_it_is_durable_and_lets_readers_read_while_it_writes(database: SqliteDatabase) -> None:
    async def ask(pragma: str) -> object:
        return await database.write(lambda connection: connection.exec_driver_sql(f"PRAGMA {pragma}").scalar())

    assert await ask("journal_mode") == "wal"
    assert await ask("synchronous") == 2

    busy, go = threading.Event(), threading.Event()

    def hold(connection: Connection) -> None:
        add("a")(connection)
        busy.set()
        go.wait()

    write = asyncio.create_task(database.write(hold))
    await asyncio.to_thread(busy.wait)
    assert await database.read(lambda connection: connection.execute(select(counters)).all()) == []
    go.set()
    await write


async def test_full_disk_is_an_outage_and_no_more(database: SqliteDatabase, path: Path) -> None:
    def fill(connection: Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        connection.exec_driver_sql("INSERT INTO seals (name, sealed) VALUES ('big', zeroblob(1000000))")

    outcomes = await asyncio.gather(database.write(add("a")), database.write(fill), return_exceptions=True)
    assert outcomes[0] == 1
    assert isinstance(outcomes[1], ServiceUnavailable)
    await database.write(add("b"))


async def test_who_waits_for_a_locked_file_waits_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of a group are refused together: one after the other would each wait for the lock anew."""
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_MS", 20)
    database = await SqliteDatabase.open(path)
    tries = 0

    def count(connection: Connection) -> None:
        nonlocal tries
        tries += 1

    event.listen(Engine, "begin", count)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        outcomes = await asyncio.gather(
            *(database.write(add(f"n{number}")) for number in range(100)), return_exceptions=True
        )
    event.remove(Engine, "begin", count)
    assert {type(outcome) for outcome in outcomes} == {ServiceUnavailable}
    # The first may have been taken before the others had come.
    assert tries <= 2
    await database.write(add("later"))
    await database.aclose()


async def test_second_process_is_refused(database: SqliteDatabase, path: Path) -> None:
    with pytest.raises(DatabaseRefused, match="in use"):
        await SqliteDatabase.open(path)
    with pytest.raises(DatabaseRefused, match="in use"):
        await upgrade(f"sqlite:///{path}")
    await database.aclose()
    again = await SqliteDatabase.open(path)
    await again.aclose()


@pytest.mark.promise("P6")
async def test_killed_process_leaves_what_it_acknowledged_and_a_free_lock(path: Path) -> None:
    program = f"""
import asyncio, pathlib
from bellhop_server.store.sqlite import SqliteDatabase
async def main():
    database = await SqliteDatabase.open(pathlib.Path({str(path)!r}))
    await database.write(lambda c: c.exec_driver_sql("INSERT INTO counters (name, value) VALUES ('kept', 1)").rowcount)
    print("open", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"open\n"
    with pytest.raises(DatabaseRefused):
        await SqliteDatabase.open(path)
    process.kill()
    await process.wait()
    database = await SqliteDatabase.open(path)
    assert await database.read(lambda connection: connection.execute(select(counters.c.name)).scalars().all()) == [
        "kept"
    ]
    await database.aclose()


async def test_file_that_is_missing_or_no_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatabaseRefused):
        await SqliteDatabase.open(tmp_path / "missing.db")
    assert not (tmp_path / "missing.db").exists()
    with pytest.raises(DatabaseRefused):
        await SqliteDatabase.open(tmp_path / "no folder" / "bellhop.db")

    (tmp_path / "letter.db").write_text("Dear database, " * 1000)
    with pytest.raises(ServiceUnavailable):
        await SqliteDatabase.open(tmp_path / "letter.db")
    # And its lock has been let go of.
    lock = sqlite.FileLock(tmp_path / "letter.db")
    lock.release()


async def test_file_put_in_place_of_the_opened_one_is_not_written_to(
    database: SqliteDatabase, path: Path, tmp_path: Path
) -> None:
    await database.write(add("a"))
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE counters (name, value)")
    connection.close()
    other.replace(path)

    with pytest.raises(ServiceUnavailable):
        await database.write(add("b"))
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM counters").fetchone() == (0,)
    connection.close()


async def test_odd_names_of_files_are_taken_literally(tmp_path: Path) -> None:
    path = tmp_path / "50%? a#b.db"
    url = f"sqlite:///{str(path).replace('%', '%25')}"
    await upgrade(url)
    database = await open_database(url)
    await database.write(add("a"))
    await database.aclose()
    assert path.exists()


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:bellhop.db", "mysql://x/y", "bellhop.db", ""]
)
async def test_url_of_no_database_is_refused(url: str) -> None:
    with pytest.raises(DatabaseRefused):
        await open_database(url)


def test_path_is_relative_with_three_slashes_and_absolute_with_four() -> None:
    assert sqlite_path("sqlite:///a/b.db") == Path("a/b.db")
    assert sqlite_path("sqlite:////a/b.db") == Path("/a/b.db")
    assert sqlite_path("postgresql:///b") is None

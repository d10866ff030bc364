"""A row for each planned device beside a packed batch: what writing, claiming and deleting them costs."""

import asyncio
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    delete,
    select,
    update,
)

from bellhop_server.domain.batch import BATCH_SIZE, Item
from bellhop_server.store.batch_rows import pack, unpack
from bellhop_server.store.bulk import insert_many
from bellhop_server.store.database import Database, open_database
from bellhop_server.store.migrate import upgrade
from benchmarks.stage import Stage, database

BATCHES = 100
ROUNDS = 2

_metadata = MetaData()
_rows = Table(
    "bench_items",
    _metadata,
    Column("batch_id", BigInteger, nullable=False),
    Column("place", SmallInteger, nullable=False),
    Column("device_id", String(128), nullable=False),
    Column("user_id", Text, nullable=False),
    Column("user_key", LargeBinary, nullable=False),
    Column("binding_epoch", BigInteger, nullable=False),
    Column("target_digest", String(16), nullable=False),
    Column("platform", SmallInteger, nullable=False),
    PrimaryKeyConstraint("batch_id", "place"),
    UniqueConstraint("device_id", "user_key"),
    sqlite_with_rowid=False,
)
_packed = Table(
    "bench_batches",
    _metadata,
    Column("batch_id", BigInteger, primary_key=True, autoincrement=False),
    Column("lease", Text, nullable=False),
    Column("items", Text, nullable=False),
)
_ITEM = tuple(column.name for column in _rows.columns)

Step = Callable[[Connection, int, list[Item]], Any]


def items(stage: Stage) -> list[str]:
    """Rows of Markdown; CPU is this process's, one transaction for each batch."""
    rows = ["| database | form | CPU µs an item | wall µs an item |", "|---|---|---|---|"]
    for name, backend in (("SQLite", "sqlite"), ("PostgreSQL", "postgresql")):
        with database(backend) as url:
            for form, cpu, wall in asyncio.run(_measure(url)):
                rows.append(f"| {name} | {form} | {cpu:.1f} | {wall:.1f} |")
    return rows


async def _measure(url: str) -> list[tuple[str, float, float]]:
    await upgrade(url)
    opened = await open_database(url)
    await opened.write(_metadata.create_all)
    forms: dict[str, tuple[Step, ...]] = {
        "a row for each item": (_insert_rows, _read_rows, _delete_rows),
        "packed": (_insert_packed, _claim_packed, _delete_packed),
    }
    best = {}
    for _ in range(ROUNDS):
        for form, steps in forms.items():
            spent = await _spend(opened, steps)
            best[form] = min(best.get(form, spent), spent)
    await opened.aclose()
    return [(form, *spent) for form, spent in best.items()]


async def _spend(opened: Database, steps: tuple[Step, ...]) -> tuple[float, float]:
    batches = [[_item(batch * BATCH_SIZE + place) for place in range(BATCH_SIZE)] for batch in range(BATCHES)]
    cpu, wall = time.process_time(), time.perf_counter()
    for step in steps:
        for batch, planned in enumerate(batches):
            await opened.write(lambda connection, s=step, b=batch, p=planned: s(connection, b, p))
    count = BATCHES * BATCH_SIZE / 1e6
    return (time.process_time() - cpu) / count, (time.perf_counter() - wall) / count


def _item(number: int) -> Item:
    return Item(f"device-{number:08d}", f"user-{number:08d}", number, f"{number:016x}", 1)


def _insert_rows(connection: Connection, batch: int, planned: list[Item]) -> None:
    values = [
        (
            batch,
            place,
            each.device_id,
            each.user_id,
            sha256(each.user_id.encode()).digest(),
            each.binding_epoch,
            each.target_digest,
            each.platform,
        )
        for place, each in enumerate(planned)
    ]
    insert_many(connection, _rows, _ITEM, values)


def _read_rows(connection: Connection, batch: int, planned: list[Item]) -> None:
    columns = (_rows.c.device_id, _rows.c.user_id, _rows.c.binding_epoch, _rows.c.target_digest, _rows.c.platform)
    found = connection.execute(select(*columns).where(_rows.c.batch_id == batch).order_by(_rows.c.place)).all()
    assert [Item(*row) for row in found] == planned


def _delete_rows(connection: Connection, batch: int, _: list[Item]) -> None:
    connection.execute(delete(_rows).where(_rows.c.batch_id == batch))


def _insert_packed(connection: Connection, batch: int, planned: list[Item]) -> None:
    insert_many(connection, _packed, ("batch_id", "lease", "items"), [(batch, "", pack(planned))])


def _claim_packed(connection: Connection, batch: int, planned: list[Item]) -> None:
    claim = update(_packed).where(_packed.c.batch_id == batch).values(lease="held").returning(_packed.c["items"])
    assert unpack(connection.execute(claim).scalar_one()) == planned


def _delete_packed(connection: Connection, batch: int, _: list[Item]) -> None:
    connection.execute(delete(_packed).where(_packed.c.batch_id == batch))

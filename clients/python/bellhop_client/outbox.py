"""An outbox: sends that are written in the caller's own transaction, and carried to Bellhop once it is committed.

A row is the send, and its id is the send's `request_id`. However often a relay dies and comes again, and however many
of them run, Bellhop takes each row once: "the order is committed" and "the push is accepted" become one thing.

SQLAlchemy 2 is needed, sync or async, with a database of the caller's choice.
"""

import asyncio
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum

from grpc import StatusCode
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Index,
    Insert,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    and_,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncEngine

from bellhop.v1.notifier_pb2 import SendRequest
from bellhop_client.client import Client
from bellhop_client.errors import BellhopError
from bellhop_client.sync import SyncClient

BATCH = 500
LEASE = timedelta(seconds=60)
"""How long a relay has rows to itself; after that another one takes those that it left."""
_FIRST_DELAY = 1.0
_LONGEST_DELAY = 300.0
_LONGEST_REASON = 1000


class State(IntEnum):
    """What is to be done with a row."""

    WAITING = 0
    REFUSED = 1
    """Nothing: Bellhop will never take it; `reason` says why."""


@dataclass(frozen=True, slots=True)
class Relayed:
    """What became of some rows: accepted and gone, refused for good, or to be tried again later."""

    accepted: int = 0
    refused: int = 0
    again: int = 0

    @property
    def total(self) -> int:
        """How many there were."""
        return self.accepted + self.refused + self.again


class Outbox:
    """A table in the caller's database. Alembic finds it in the MetaData that it was made in."""

    def __init__(self, metadata: MetaData, name: str = "bellhop_outbox") -> None:
        self.table = Table(
            name,
            metadata,
            Column("request_id", String(128), primary_key=True),
            Column("body", LargeBinary, nullable=False),
            Column("state", SmallInteger, nullable=False),
            Column("create_time", BigInteger, nullable=False),
            Column("due_time", BigInteger, nullable=False),
            Column("lease_until", BigInteger, nullable=False),
            Column("attempts", Integer, nullable=False),
            Column("reason", Text, nullable=False),
            Index(f"ix_{name}_due_time", "state", "due_time"),
        )

    def add(self, *sends: SendRequest) -> Insert:
        """What the caller executes in a transaction of its own: `session.execute(outbox.add(send))`, or awaits it.

        A send without a `request_id` is given one. Raises ValueError for `validate_only`.
        """
        if any(send.validate_only for send in sends):
            raise ValueError("validate_only sends nothing: it has no place in an outbox")
        now, rows = _now(), []
        for send in sends:
            kept = SendRequest()
            kept.CopyFrom(send)
            kept.request_id = send.request_id or uuid.uuid4().hex
            kept.accept_only = True
            rows.append(
                {
                    "request_id": kept.request_id,
                    "body": kept.SerializeToString(),
                    "state": int(State.WAITING),
                    "create_time": now,
                    "due_time": now,
                    "lease_until": 0,
                    "attempts": 0,
                    "reason": "",
                }
            )
        return insert(self.table).values(rows)


@dataclass(frozen=True, slots=True)
class _Row:
    send: SendRequest
    attempts: int


class _Desk:
    """What both relays do in the database, in short transactions of their own."""

    def __init__(self, outbox: Outbox) -> None:
        self._table = outbox.table

    def take(self, connection: Connection) -> list[_Row]:
        """Rows that are due, for a while nobody else's. On databases with SKIP LOCKED two relays never meet."""
        columns, now = self._table.c, _now()
        free = and_(columns.state == int(State.WAITING), columns.due_time <= now, columns.lease_until <= now)
        due = select(columns.request_id, columns.body, columns.attempts, columns.lease_until).where(free)
        due = due.order_by(columns.due_time, columns.create_time).limit(BATCH).with_for_update(skip_locked=True)
        rows = []
        for request_id, body, attempts, lease_until in connection.execute(due).all():
            # Where nothing is locked, whoever changes the lease first has the row.
            mine = and_(columns.request_id == request_id, columns.lease_until == lease_until)
            until = now + int(LEASE.total_seconds() * 1e6)
            if connection.execute(update(self._table).where(mine).values(lease_until=until)).rowcount:
                rows.append(_Row(SendRequest.FromString(body), attempts))
        return rows

    def settle(self, connection: Connection, rows: Sequence[_Row], errors: dict[str, BellhopError | None]) -> Relayed:
        """Writes what became of rows; one that is not in `errors` was not answered, and is due again."""
        accepted = [row.send.request_id for row in rows if errors.get(row.send.request_id, _UNANSWERED) is None]
        connection.execute(delete(self._table).where(self._table.c.request_id.in_(accepted)))
        refused = again = 0
        for row in rows:
            error = errors.get(row.send.request_id, _UNANSWERED)
            if error is None:
                continue
            passing = error is _UNANSWERED or is_passing(error)
            refused, again = refused + (not passing), again + passing
            delay = _delay(row.attempts, error)
            connection.execute(
                update(self._table)
                .where(self._table.c.request_id == row.send.request_id)
                .values(
                    state=int(State.WAITING if passing else State.REFUSED),
                    due_time=_now() + int(delay * 1e6),
                    lease_until=0,
                    attempts=row.attempts + 1,
                    reason=str(error)[:_LONGEST_REASON],
                )
            )
        return Relayed(len(accepted), refused, again)


def is_passing(error: BellhopError) -> bool:
    """Whether the same send may be taken later."""
    return error.retry_after is not None or error.code.name in _PASSING


_PASSING = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "INTERNAL", "UNKNOWN", "CANCELLED")


class AsyncRelay:
    """Carries rows to Bellhop. Run as many as you like."""

    def __init__(self, outbox: Outbox, engine: AsyncEngine, client: Client) -> None:
        self._desk = _Desk(outbox)
        self._engine = engine
        self._client = client

    async def run_once(self) -> Relayed:
        """Carries what is due, up to 500 rows. Raises what the database raises."""
        async with self._engine.begin() as connection:
            rows = await connection.run_sync(self._desk.take)
        if not rows:
            return Relayed()
        errors: dict[str, BellhopError | None] = {}
        try:
            async for answer in self._client.send_many(_each(row.send for row in rows)):
                errors[answer.request_id] = answer.error
        except BellhopError as error:
            errors = {row.send.request_id: errors.get(row.send.request_id, error) for row in rows}
        async with self._engine.begin() as connection:
            return await connection.run_sync(self._desk.settle, rows, errors)

    async def run(self, poll: float = 1.0) -> None:
        """Carries what comes until it is cancelled; looks every `poll` seconds while there is nothing to do."""
        while True:
            if not (await self.run_once()).total:
                await asyncio.sleep(poll)


class Relay:
    """Carries rows to Bellhop, for programs without an event loop. Run as many as you like."""

    def __init__(self, outbox: Outbox, engine: Engine, client: SyncClient) -> None:
        self._desk = _Desk(outbox)
        self._engine = engine
        self._client = client

    def run_once(self) -> Relayed:
        """Carries what is due, up to 500 rows. Raises what the database raises."""
        with self._engine.begin() as connection:
            rows = self._desk.take(connection)
        if not rows:
            return Relayed()
        errors: dict[str, BellhopError | None] = {}
        try:
            for answer in self._client.send_many(row.send for row in rows):
                errors[answer.request_id] = answer.error
        except BellhopError as error:
            errors = {row.send.request_id: errors.get(row.send.request_id, error) for row in rows}
        with self._engine.begin() as connection:
            return self._desk.settle(connection, rows, errors)

    def run(self, stopped: threading.Event, poll: float = 1.0) -> None:
        """Carries what comes until it is told to stop; looks every `poll` seconds while there is nothing to do."""
        while not stopped.is_set():
            if not self.run_once().total:
                stopped.wait(poll)


async def _each(sends: Iterable[SendRequest]) -> AsyncIterator[SendRequest]:
    for send in sends:
        yield send


def _delay(attempts: int, error: BellhopError) -> float:
    return max(min(_FIRST_DELAY * 2.0 ** min(attempts, 16), _LONGEST_DELAY), error.retry_after or 0.0)


def _now() -> int:
    """Microseconds."""
    return time.time_ns() // 1000


_UNANSWERED = BellhopError(StatusCode.UNAVAILABLE, "it was not answered")

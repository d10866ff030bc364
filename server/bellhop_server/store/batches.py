"""Batches in SQL: written by planners, claimed under leases by workers."""

import json
import uuid
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import structlog
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Select,
    SmallInteger,
    UpdateBase,
    bindparam,
    case,
    false,
    func,
    literal,
    literal_column,
    select,
    text,
    true,
    union_all,
    update,
)

from bellhop_server.domain import Micros
from bellhop_server.domain.batch import ClaimedBatch, NewBatch, Recorded
from bellhop_server.domain.errors import BellhopError, ConcurrentChange
from bellhop_server.domain.lanes import Lane, Share, Survey
from bellhop_server.domain.message import MessageState
from bellhop_server.domain.notification import Priority
from bellhop_server.domain.planning import AudiencePage
from bellhop_server.store.batch_rows import insert_batches, unpack
from bellhop_server.store.database import Database
from bellhop_server.store.group_writer import GroupWriter
from bellhop_server.store.result_rows import insert_results
from bellhop_server.store.results import forget_requests_later
from bellhop_server.store.tables import batches, messages

_log = structlog.stdlib.get_logger(__name__)

# [[batch id, lease, now, until], ...] as rows. Locked in order, so that two who write never wait in a circle.
_STARTED = {
    "sqlite": "SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS token,"
    " json_extract(value, '$[2]') AS moment, json_extract(value, '$[3]') AS until FROM json_each(:starts)",
    "postgresql": "SELECT CAST(value ->> 0 AS bigint) AS id, value ->> 1 AS token,"
    " CAST(value ->> 2 AS bigint) AS moment, CAST(value ->> 3 AS bigint) AS until"
    " FROM json_array_elements(CAST(:starts AS json))",
}
_START = {
    dialect: text(f"""
UPDATE batches SET started = true, lease_until = until FROM ({starts}) AS starts
WHERE batch_id = id AND lease = token AND lease_until > moment
RETURNING batch_id
""")  # noqa: S608 - one of the two above
    for dialect, starts in _STARTED.items()
}
_TO_START = select(batches.c.batch_id).where(batches.c.batch_id.in_(bindparam("ids", expanding=True)))
_TO_START = _TO_START.order_by(batches.c.batch_id).with_for_update()

# In literals, or SQLite has no use for the partial indexes.
_UNHELD: ColumnElement[bool] = literal_column("batches.lease_until = 0")
_LEASED_ROWS: ColumnElement[bool] = literal_column("batches.lease_until > 0")
_NOW = bindparam("now", type_=BigInteger)
_NOT_HELD = batches.c.batch_id.not_in(bindparam("held", expanding=True))
# Of whoever is to have it next.
_INTERRUPTIONS = batches.c.interruptions + case((batches.c.started, 1), else_=0)
_NOBODY = {"worker": "", "lease": "", "lease_until": 0}


class _Start(NamedTuple):
    batch_id: int
    lease: str
    now: Micros
    until: Micros


class SqlBatches:
    """Plans and leases. Part of `ports.MessageStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._starts = GroupWriter[_Start, bool](database.write, _start)

    async def add_plan(
        self, ref: int, expected_after: str, page: AudiencePage, new: Sequence[NewBatch], now: Micros
    ) -> Recorded:
        """See `ports.MessageStore`."""
        return await self._database.write(
            lambda connection: write_plan(connection, ref, expected_after, page, new, now)
        )

    async def survey(self, now: Micros, held: Collection[int]) -> Survey:
        """See `ports.MessageStore`."""
        values = {"now": now, "held": list(held)}

        def look(connection: Connection) -> Survey:
            waiting = connection.execute(_WAITING, values).all()
            leased = connection.execute(_LEASED, values).all()
            lanes = {
                Lane(row.app_id, row.priority) for row in waiting if row.fresh or (row.retry_turn or now + 1) <= now
            }
            lanes.update(Lane(row.app_id, row.priority) for row in leased if row.lease_until <= now)
            later = [row.retry_turn for row in waiting if row.retry_turn is not None]
            later += [row.lease_until for row in leased]
            return Survey(sorted(lanes), min((time for time in later if time > now), default=None))

        return await self._database.read(look)

    async def claim(
        self, worker: str, now: Micros, lease_until: Micros, shares: Sequence[Share], held: Collection[int]
    ) -> list[ClaimedBatch]:
        """See `ports.MessageStore`."""
        lease = {"worker": worker, "lease": uuid.uuid4().hex, "lease_until": lease_until}

        def take(connection: Connection) -> list[Row[Any]]:
            connection.execute(_LAPSE, {"now": now, "held": list(held)})
            rows: list[Row[Any]] = []
            for (app_id, priority), devices, most in shares:
                share = {"app": app_id, "lane_priority": priority, "devices": devices, "most": most, "now": now}
                found = connection.execute(_CLAIM, lease | share).all()
                rows += sorted(found, key=lambda row: (row.turn, row.batch_id))
            return rows

        claimed = map(_claimed, await self._database.write(take))
        return [batch for batch in claimed if batch is not None]

    async def start(self, batch_id: int, lease: str, now: Micros, lease_until: Micros) -> bool:
        """See `ports.MessageStore`."""
        return await self._starts.submit(_Start(batch_id, lease, now, lease_until))

    async def close_batches(self) -> None:
        """Finishes what was taken and takes no more."""
        await self._starts.aclose()

    async def release(self, worker: str) -> int:
        """See `ports.MessageStore`."""
        statement = update(batches).where(_LEASED_ROWS, batches.c.worker == worker, ~batches.c.started).values(_NOBODY)
        return await self._database.write(lambda connection: connection.execute(statement).rowcount)

    async def end_leases(self, now: Micros) -> int:
        """See `ports.MessageStore`. `started` stays, so that whoever claims next knows of the doubt."""
        statement = update(batches).where(_LEASED_ROWS).values(_NOBODY)
        return await self._database.write(lambda connection: connection.execute(statement).rowcount)


def _start(connection: Connection, starts: list[_Start]) -> list[bool | BellhopError]:
    dialect = connection.dialect.name
    if dialect == "postgresql":
        connection.execute(_TO_START, {"ids": [each.batch_id for each in starts]})
    started = set(connection.execute(_START[dialect], {"starts": json.dumps(starts)}).scalars())
    return [each.batch_id in started for each in starts]


def write_plan(
    connection: Connection, ref: int, expected_after: str, page: AudiencePage, new: Sequence[NewBatch], now: Micros
) -> Recorded:
    """See `ports.MessageStore.add_plan`."""
    missing = [result._replace(result_time=now) for result in page.missing]
    device_count = sum(len(batch.items) for batch in new)
    move = _moved_plan(ref, expected_after, page.after, device_count, len(missing), now)
    message = connection.execute(move).one_or_none()
    if message is None:
        raise ConcurrentChange
    insert_batches(connection, [(ref, message.app_id, batch) for batch in new])
    first_seq = message.result_seq - len(missing) + 1
    insert_results(connection, [(ref, first_seq + place, result) for place, result in enumerate(missing)])
    completed = message.state == MessageState.COMPLETED
    if completed:
        forget_requests_later(connection, [message], now)
    return Recorded(ref, first_seq, missing, completed)


def _moved_plan(
    ref: int, expected_after: str, after: str | None, device_count: int, missing_count: int, now: Micros
) -> UpdateBase:
    """Moves the planner's cursor if nobody else has, and completes a message that is planned and has nothing to do."""
    values: dict[Any, Any] = {
        messages.c.device_count: messages.c.device_count + device_count,
        messages.c.not_registered_count: messages.c.not_registered_count + missing_count,
        messages.c.result_seq: messages.c.result_seq + missing_count,
    }
    if after is None:
        finished = messages.c.finished_count == messages.c.device_count + device_count
        values[messages.c.planned] = True
        values[messages.c.state] = case((finished, MessageState.COMPLETED), else_=messages.c.state)
        values[messages.c.complete_time] = case((finished, now), else_=messages.c.complete_time)
    else:
        values[messages.c.plan_after] = after
    return (
        update(messages)
        .where(
            messages.c.ref == ref,
            messages.c.plan_after == expected_after,
            ~messages.c.planned,
            messages.c.state == MessageState.SENDING,
        )
        .values(values)
        .returning(
            messages.c.app_id, messages.c.message_id, messages.c.request_id, messages.c.state, messages.c.result_seq
        )
    )


def _claim() -> UpdateBase:
    """The batches of a lane whose turn it is, until there are enough devices in them.

    One statement, so that no two workers are given the same batch. What waits for its time is never walked through.
    """
    lane = select(batches.c.batch_id, batches.c.item_count, batches.c.turn).where(
        batches.c.app_id == bindparam("app"), batches.c.priority == bindparam("lane_priority"), _UNHELD
    )
    most = bindparam("most", type_=batches.c.item_count.type)
    sources = [lane.where(batches.c.retry == false()), lane.where(batches.c.retry == true(), batches.c.turn <= _NOW)]
    # As CTEs, which PostgreSQL carries out once.
    locked = [
        source.order_by(batches.c.turn, batches.c.batch_id).limit(most).with_for_update(skip_locked=True).cte()
        for source in sources
    ]
    due = union_all(*(select(source) for source in locked)).subquery()
    through = func.sum(due.c.item_count).over(order_by=(due.c.turn, due.c.batch_id))
    running = select(due.c.batch_id, (through - due.c.item_count).label("before")).subquery()
    chosen = select(running.c.batch_id).where(running.c.before < bindparam("devices", type_=BigInteger))
    return (
        update(batches)
        .where(batches.c.batch_id.in_(chosen))
        .values(
            worker=bindparam("worker"),
            lease=bindparam("lease"),
            lease_until=bindparam("lease_until"),
            interruptions=_INTERRUPTIONS,
            started=false(),
        )
        .returning(batches)
    )


def _waiting() -> Select[Any]:
    """The lanes that have something, by leaps from one application to the next along the index, and what they have."""
    first = select(func.min(batches.c.app_id).label("app_id")).where(_UNHELD)
    apps = first.cte("apps", recursive=True)
    leap = select(func.min(batches.c.app_id)).where(_UNHELD, batches.c.app_id > apps.c.app_id).scalar_subquery()
    apps = apps.union_all(select(leap).where(apps.c.app_id.is_not(None)))
    priorities = union_all(
        *(select(literal(each, SmallInteger).label("priority")) for each in map(int, Priority))
    ).subquery()
    of_lane = (batches.c.app_id == apps.c.app_id) & (batches.c.priority == priorities.c.priority) & _UNHELD
    fresh = select(literal_column("1")).where(of_lane, batches.c.retry == false()).exists()
    retry_turn = select(func.min(batches.c.turn)).where(of_lane, batches.c.retry == true()).scalar_subquery()
    lanes = apps.join(priorities, true())
    return (
        select(apps.c.app_id, priorities.c.priority, fresh.label("fresh"), retry_turn.label("retry_turn"))
        .select_from(lanes)
        .where(apps.c.app_id.is_not(None))
    )


_CLAIM = _claim()
_WAITING = _waiting()
_LEASED = select(batches.c.app_id, batches.c.priority, batches.c.lease_until).where(_LEASED_ROWS, _NOT_HELD)
# Whoever held it is gone, or writes its results at this moment: nobody waits for that. It keeps its turn, which has
# come long since.
_LAPSED = (
    select(batches.c.batch_id)
    .where(_LEASED_ROWS, batches.c.lease_until <= _NOW, _NOT_HELD)
    .with_for_update(skip_locked=True)
    .cte()
)
_LAPSE = (
    update(batches)
    .where(batches.c.batch_id.in_(select(_LAPSED.c.batch_id)))
    .values(interruptions=_INTERRUPTIONS, started=false(), **_NOBODY)
)


def _claimed(row: Row[Any]) -> ClaimedBatch | None:
    try:
        items = unpack(row.items)
    except ValueError as error:
        # Written by a later version, or damaged. It must not keep the others from being delivered.
        _log.error("a batch cannot be read", batch_id=row.batch_id, reason=str(error))
        return None
    return ClaimedBatch(
        batch_id=row.batch_id,
        message_ref=row.message_ref,
        app_id=row.app_id,
        lease=row.lease,
        interruptions=row.interruptions,
        priority=row.priority,
        items=items,
    )

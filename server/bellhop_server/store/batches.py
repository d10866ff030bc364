"""Batches in SQL: written by planners, claimed under leases by workers."""

import uuid
from collections.abc import Collection, Sequence
from typing import Any

import structlog
from sqlalchemy import (
    Connection,
    Row,
    Select,
    UpdateBase,
    bindparam,
    case,
    false,
    func,
    or_,
    select,
    true,
    union_all,
    update,
)

from bellhop_server.domain import Micros
from bellhop_server.domain.batch import ClaimedBatch, NewBatch, Recorded
from bellhop_server.domain.errors import ConcurrentChange
from bellhop_server.domain.message import MessageState
from bellhop_server.domain.notification import Priority
from bellhop_server.domain.planning import AudiencePage
from bellhop_server.store.batch_rows import insert_batches, unpack
from bellhop_server.store.database import Database
from bellhop_server.store.results import forget_requests_later, insert_results
from bellhop_server.store.tables import batches, messages

_log = structlog.stdlib.get_logger(__name__)

# Put together once: that takes longer than carrying it out.
_START = (
    update(batches)
    .where(
        batches.c.batch_id == bindparam("id"),
        batches.c.lease == bindparam("token"),
        batches.c.lease_until > bindparam("now"),
    )
    .values(started=true(), lease_until=bindparam("until"))
)

_HELD = batches.c.priority.in_(list(Priority)) & (batches.c.lease_until > 0)
_NOBODY = {"worker": "", "lease": "", "lease_until": 0}


class SqlBatches:
    """Plans and leases. Part of `ports.MessageStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_plan(
        self, ref: int, expected_after: str, page: AudiencePage, new: Sequence[NewBatch], now: Micros
    ) -> Recorded:
        """See `ports.MessageStore`."""
        missing = [result._replace(result_time=now) for result in page.missing]
        device_count = sum(len(batch.items) for batch in new)
        move = _moved_plan(ref, expected_after, page.after, device_count, len(missing), now)

        def add(connection: Connection) -> Recorded:
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

        return await self._database.write(add)

    async def claim(
        self, worker: str, now: Micros, lease_until: Micros, limit: int, held: Collection[int] = ()
    ) -> list[ClaimedBatch]:
        """See `ports.MessageStore`."""
        values = {
            "worker": worker,
            "lease": uuid.uuid4().hex,
            "lease_until": lease_until,
            "now": now,
            "claim_limit": limit,
            "held": list(held),
        }
        rows = await self._database.write(lambda connection: connection.execute(_CLAIM, values).all())
        claimed = map(_claimed, sorted(rows, key=lambda row: (-row.priority, row.due_time, row.batch_id)))
        return [batch for batch in claimed if batch is not None]

    async def start(self, batch_id: int, lease: str, now: Micros, lease_until: Micros) -> bool:
        """See `ports.MessageStore`."""
        values = {"id": batch_id, "token": lease, "now": now, "until": lease_until}
        return await self._database.write(lambda connection: connection.execute(_START, values).rowcount) == 1

    async def release(self, worker: str) -> int:
        """See `ports.MessageStore`."""
        statement = update(batches).where(_HELD, batches.c.worker == worker, ~batches.c.started).values(_NOBODY)
        return await self._database.write(lambda connection: connection.execute(statement).rowcount)

    async def end_leases(self, now: Micros) -> int:
        """See `ports.MessageStore`. `started` stays, so that whoever claims next knows of the doubt."""
        statement = update(batches).where(_HELD).values(_NOBODY)
        return await self._database.write(lambda connection: connection.execute(statement).rowcount)

    async def next_due(self) -> Micros | None:
        """See `ports.MessageStore`."""
        earliest: Micros | None = await self._database.read(lambda connection: connection.execute(_NEXT_DUE).scalar())
        return earliest


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
    """One statement, so that no two workers are given the same batch, ordered by priority and, within it, by age.

    Each lane is a range of the index: what is not due, and what others hold, is never walked through.
    """
    now = bindparam("now", type_=batches.c.due_time.type)
    limit = bindparam("claim_limit", type_=batches.c.item_count.type)
    lanes = []
    for priority in sorted(Priority, reverse=True):
        lane = select(batches.c.batch_id).where(batches.c.priority == int(priority))
        lapsed = lane.where(
            batches.c.lease_until > 0,
            batches.c.lease_until <= now,
            batches.c.batch_id.not_in(bindparam("held", expanding=True)),
        ).order_by(batches.c.lease_until)
        waiting = lane.where(batches.c.lease_until == 0, batches.c.due_time <= now).order_by(batches.c.due_time)
        lanes += [lapsed, waiting.order_by(batches.c.batch_id)]
    locked = [lane.limit(limit).with_for_update(skip_locked=True).subquery() for lane in lanes]
    due = union_all(*(select(lane.c.batch_id) for lane in locked)).limit(limit).cte("due")
    return (
        update(batches)
        .where(batches.c.batch_id.in_(select(due.c.batch_id)))
        .values(
            worker=bindparam("worker"),
            lease=bindparam("lease"),
            lease_until=bindparam("lease_until"),
            in_doubt=or_(batches.c.in_doubt, batches.c.started),
            started=false(),
        )
        .returning(batches)
    )


def _next_due() -> Select[Any]:
    times = []
    for priority in Priority:
        lane = batches.c.priority == int(priority)
        times.append(select(func.min(batches.c.due_time).label("at")).where(lane, batches.c.lease_until == 0))
        times.append(select(func.min(batches.c.lease_until).label("at")).where(lane, batches.c.lease_until > 0))
    return select(func.min(union_all(*times).subquery().c.at))


_CLAIM = _claim()
_NEXT_DUE = _next_due()


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
        in_doubt=row.in_doubt,
        retry=row.retry,
        items=items,
    )

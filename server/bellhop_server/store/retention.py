"""What retention deletes, in steps of bounded size. All spans count from a message's last result."""

from collections.abc import Sequence
from functools import partial

from sqlalchemy import Connection, delete, func, select, update

from bellhop_server.domain import DAY, Micros
from bellhop_server.domain.tag import REMOVED_LIFE
from bellhop_server.store.binding_rows import forget_generations, forget_grants, forget_revocations
from bellhop_server.store.bulk import delete_some
from bellhop_server.store.database import Database
from bellhop_server.store.subscriptions import forget_subscriptions
from bellhop_server.store.tables import (
    interaction_counts,
    interactions,
    messages,
    outcome_counts,
    payloads,
    request_ids,
    results,
)

PAYLOAD_LIFE: Micros = 7 * DAY
MESSAGE_LIFE: Micros = 30 * DAY


class SqlRetention:
    """Deletes what is old. Part of `ports.MessageStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def sweep(self, now: Micros, limit: int) -> int:
        """See `ports.MessageStore`. A transaction for each kind, so that others' writes come in between."""
        swept = 0
        for step in _STEPS:
            if (left := limit - swept) > 0:
                swept += await self._database.write(partial(step, now=now, limit=left))
        return swept


def _erase_payloads(connection: Connection, now: Micros, limit: int) -> int:
    due = (
        select(messages.c.ref)
        .where(~messages.c.payload_erased, messages.c.complete_time <= now - PAYLOAD_LIFE)
        .order_by(messages.c.complete_time)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    refs = connection.execute(due).scalars().all()
    connection.execute(delete(payloads).where(payloads.c.message_ref.in_(refs)))
    connection.execute(update(messages).where(messages.c.ref.in_(refs)).values(payload_erased=True))
    return len(refs)


def _delete_messages(connection: Connection, now: Micros, limit: int) -> int:
    due = (
        select(messages.c.ref, messages.c.result_seq)
        .where(messages.c.complete_time <= now - MESSAGE_LIFE)
        .order_by(messages.c.complete_time, messages.c.ref)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    refs: list[int] = []
    rows = 0
    for ref, result_seq in connection.execute(due).all():
        # A message has at most as many results as cursor numbers.
        rows += result_seq + 1
        if rows > limit:
            return _delete_whole(connection, refs) if refs else _delete_slice(connection, ref, limit)
        refs.append(ref)
    return _delete_whole(connection, refs)


def _delete_slice(connection: Connection, ref: int, limit: int) -> int:
    """Some of what was reported of a large message, then some of its results; with the last the message itself."""
    if reported := delete_some(connection, interactions, interactions.c.message_ref == ref, limit):
        return reported
    first = connection.execute(select(func.min(results.c.seq)).where(results.c.message_ref == ref)).scalar() or 0
    some = delete(results).where(results.c.message_ref == ref, results.c.seq < first + limit)
    deleted = connection.execute(some).rowcount
    return deleted if deleted == limit else deleted + _delete_whole(connection, [ref])


def _delete_whole(connection: Connection, refs: Sequence[int]) -> int:
    of_messages = (results.c.message_ref, *_OF_MESSAGES, messages.c.ref)
    return sum(connection.execute(delete(column.table).where(column.in_(refs))).rowcount for column in of_messages)


def _forget_requests(connection: Connection, now: Micros, limit: int) -> int:
    return delete_some(connection, request_ids, request_ids.c.forget_time <= now, limit)


def _forget_subscriptions(connection: Connection, now: Micros, limit: int) -> int:
    return forget_subscriptions(connection, now - REMOVED_LIFE, limit)


_OF_MESSAGES = (
    outcome_counts.c.message_ref,
    payloads.c.message_ref,
    interactions.c.message_ref,
    interaction_counts.c.message_ref,
)

_STEPS = (
    _erase_payloads,
    _delete_messages,
    _forget_requests,
    forget_generations,
    forget_revocations,
    forget_grants,
    _forget_subscriptions,
)

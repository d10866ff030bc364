"""Numbers of messages in SQL: how many devices, and what became of them."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, func, select, true

from bellhop_server.domain.device import Platform
from bellhop_server.domain.message import MessageCounts, MessageEnding, MessageState, Outcome
from bellhop_server.store.bulk import select_many
from bellhop_server.store.tables import batches, messages, outcome_counts

_REFS: BindParameter[int] = bindparam("refs", expanding=True)
_WAITING = (
    select(
        batches.c.message_ref,
        func.sum(batches.c.item_count).label("item_count"),
        func.min(batches.c.turn).label("turn"),
    )
    .where(batches.c.message_ref.in_(_REFS), batches.c.retry == true(), ~batches.c.started)
    .group_by(batches.c.message_ref)
    .subquery()
)
# Put together once: that takes longer than carrying it out.
_COUNTS = (
    select(
        messages.c.ref,
        messages.c.device_count,
        messages.c.planned,
        messages.c.finished_count,
        messages.c.not_registered_count,
        _WAITING.c.item_count,
        _WAITING.c.turn,
        outcome_counts.c.platform,
        outcome_counts.c.outcome,
        outcome_counts.c.count.label("outcome_count"),
    )
    .outerjoin(_WAITING, _WAITING.c.message_ref == messages.c.ref)
    .outerjoin(outcome_counts, outcome_counts.c.message_ref == messages.c.ref)
    .where(messages.c.ref.in_(_REFS))
)

_OF_REFS = {"sqlite": "IN (SELECT value FROM json_each(?))", "postgresql": "= ANY($1::bigint[])"}
_ENDING = ("ref", "state", "complete_time", "device_count", "not_registered_count")
_OUTCOME = ("message_ref", "platform", "outcome", "count")


def counts_of(connection: Connection, refs: Sequence[int]) -> dict[int, MessageCounts]:
    """One statement, so that all of it is of one moment: a row for each outcome of a message, or one without any."""
    counts: dict[int, MessageCounts] = {}
    for row in connection.execute(_COUNTS, {"refs": list(refs)}):
        if row.ref not in counts:
            counts[row.ref] = MessageCounts(
                device_count=row.device_count,
                planned=row.planned,
                finished_count=row.finished_count,
                retrying_count=row.item_count or 0,
                not_registered_count=row.not_registered_count,
                next_attempt_time=row.turn,
            )
        if row.outcome is not None:
            counts[row.ref].outcomes[Platform(row.platform), Outcome(row.outcome)] = row.outcome_count
    return counts


def endings_of(connection: Connection, refs: Sequence[int]) -> dict[int, MessageEnding]:
    """Of those messages that have come to it. Nothing of these changes between the two statements."""
    dialect = connection.dialect.name
    named: Any = json.dumps(refs) if dialect == "sqlite" else list(refs)
    ended = (
        f"SELECT {', '.join(_ENDING)} FROM messages WHERE ref {_OF_REFS[dialect]}"  # noqa: S608 - our own names
        f" AND state IN ({int(MessageState.COMPLETED)}, {int(MessageState.CANCELLED)})"
        " AND finished_count = device_count"
    )
    endings = {
        ref: MessageEnding(
            MessageState(state),
            complete_time,
            MessageCounts(
                device_count=device_count,
                planned=True,
                finished_count=device_count,
                not_registered_count=not_registered_count,
            ),
        )
        for ref, state, complete_time, device_count, not_registered_count in select_many(
            connection, ended, (named,), _ENDING
        )
    }
    outcomes = (
        f"SELECT {', '.join(_OUTCOME)} FROM outcome_counts"  # noqa: S608 - our own names
        f" WHERE message_ref {_OF_REFS[dialect]}"
    )
    for ref, platform, outcome, count in select_many(connection, outcomes, (named,), _OUTCOME):
        if ref in endings:
            endings[ref].counts.outcomes[Platform(platform), Outcome(outcome)] = count
    return endings

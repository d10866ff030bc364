"""Accepting sends in SQL, many in one transaction."""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

from sqlalchemy import Connection, delete, select, tuple_

from bellhop_server.domain import Micros
from bellhop_server.domain.batch import NewBatch, Recorded
from bellhop_server.domain.errors import BellhopError, ConcurrentChange, RequestIdReused
from bellhop_server.domain.message import Audience, MessageState, Send
from bellhop_server.domain.notification import Priority
from bellhop_server.domain.planning import AudiencePage, batches_of, is_small
from bellhop_server.store.batch_rows import insert_batches
from bellhop_server.store.bulk import insert_many
from bellhop_server.store.message_body import encode
from bellhop_server.store.result_rows import insert_results
from bellhop_server.store.results import forget_requests_later
from bellhop_server.store.small_audiences import resolve
from bellhop_server.store.tables import messages, payloads, request_ids

_MESSAGE_COLUMNS = (
    "app_id",
    "message_id",
    "ref",
    "request_id",
    "state",
    "priority",
    "resend",
    "accept_time",
    "expire_time",
    "fire_time",
    "complete_time",
    "planned",
    "plan_after",
    "device_count",
    "finished_count",
    "not_registered_count",
    "result_seq",
    "payload_erased",
)
_KEY_COLUMNS = ("app_id", "request_id", "fingerprint", "message_id", "message_ref")

_NEW_REFS = {
    "sqlite": "SELECT COALESCE(MAX(seq), 0) + ?1 FROM sqlite_sequence WHERE name = 'messages'",
    "postgresql": "SELECT nextval(pg_get_serial_sequence('messages', 'ref')) FROM generate_series(1, $1)",
}


class Acceptance(NamedTuple):
    """A send on its way into the store. `keys` are what makes it repeatable."""

    app_id: str
    keys: tuple[str, ...]
    request_id: str
    message_id: str
    fingerprint: str
    priority: int
    resend: int
    accept_time: Micros
    expire_time: Micros
    fire_time: Micros
    body: str
    small_audience: Audience | None
    """To be resolved by the way."""

    @classmethod
    def of(cls, send: Send, fingerprint: str, message_id: str, now: Micros) -> "Acceptance":
        """Accepts `send` at `now` under the id that it is to have."""
        fire_time = send.options.fire_time(now)
        return cls(
            app_id=send.app_id,
            keys=send.keys,
            request_id=send.request_id,
            message_id=message_id,
            fingerprint=fingerprint,
            priority=int(send.options.priority),
            resend=int(send.options.resend),
            accept_time=now,
            expire_time=fire_time + send.options.ttl,
            fire_time=fire_time,
            body=encode(send.audience, send.notification),
            small_audience=send.audience if fire_time <= now and is_small(send.audience) else None,
        )


class Accepting(NamedTuple):
    """The message that an acceptance became, or that it had been already (`replayed`), and its plan if it has one."""

    ref: int
    message_id: str
    replayed: bool
    plan: Recorded | None = None


class _Known(NamedTuple):
    fingerprint: str
    message_id: str
    message_ref: int


def accept_all(connection: Connection, acceptances: list[Acceptance]) -> list[Accepting | BellhopError]:
    """Writes each acceptance unless its key is known. Keys before messages, both in order: nobody waits in a circle."""
    refs = _new_refs(connection, len(acceptances))
    known = _take_keys(connection, acceptances, refs)
    outcomes = [_outcome(acceptance, ref, known) for acceptance, ref in zip(acceptances, refs, strict=True)]
    new = {
        ref: acceptance
        for acceptance, ref, outcome in zip(acceptances, refs, outcomes, strict=True)
        if isinstance(outcome, Accepting) and outcome.ref == ref
    }
    plans = _plans(connection, new)
    refused = _write(connection, acceptances, refs, new, plans)
    written = {ref: plan for ref, plan in plans.items() if ref not in refused}
    recorded = _carry_out(connection, new, written)
    answers: list[Accepting | BellhopError] = []
    for acceptance, outcome in zip(acceptances, outcomes, strict=True):
        if isinstance(outcome, Accepting) and outcome.ref in refused:
            outcome = RequestIdReused(acceptance.request_id, acceptance.message_id)
        elif isinstance(outcome, Accepting) and not outcome.replayed:
            outcome = outcome._replace(plan=recorded.get(outcome.ref))
        answers.append(outcome)
    return answers


def _plans(connection: Connection, new: Mapping[int, Acceptance]) -> dict[int, AudiencePage]:
    """The audiences of small ones, unless they have so many devices that they are for the planner after all."""
    small = {ref: (each.app_id, each.small_audience) for ref, each in new.items() if each.small_audience is not None}
    return resolve(connection, small, max(each.accept_time for each in new.values())) if small else {}


def _carry_out(
    connection: Connection, new: Mapping[int, Acceptance], plans: Mapping[int, AudiencePage]
) -> dict[int, Recorded]:
    """Writes batches and missing results of messages that have just been written as planned."""
    recorded: dict[int, Recorded] = {}
    batches: list[tuple[int, str, NewBatch]] = []
    for ref, page in plans.items():
        each = new[ref]
        missing = [result._replace(result_time=each.accept_time) for result in page.missing]
        recorded[ref] = Recorded(ref, 1, missing, completed=not page.items)
        cut = batches_of(page.items, each.fire_time, Priority(each.priority), 0)
        batches += [(ref, each.app_id, batch) for batch in cut]
    insert_batches(connection, batches)
    insert_results(
        connection,
        [(ref, seq, result) for ref, plan in recorded.items() for seq, result in enumerate(plan.results, 1)],
    )
    completed = [new[ref] for ref, plan in recorded.items() if plan.completed]
    for accept_time in sorted({each.accept_time for each in completed}):
        forget_requests_later(connection, [each for each in completed if each.accept_time == accept_time], accept_time)
    return recorded


def _outcome(
    acceptance: Acceptance, ref: int, known: Mapping[tuple[str, str], _Known] | None
) -> Accepting | BellhopError:
    own = _Known(acceptance.fingerprint, acceptance.message_id, ref)
    holders = [own if known is None else known.get((acceptance.app_id, key)) for key in acceptance.keys]
    if None in holders:
        # It was there a moment ago, and retention has just taken it.
        return ConcurrentChange()
    holder = next((each for each in holders if each is not None and each.message_ref != ref), own)
    if holder.fingerprint != acceptance.fingerprint:
        return RequestIdReused(acceptance.request_id, holder.message_id)
    return Accepting(holder.message_ref, holder.message_id, replayed=holder.message_ref != ref)


def _new_refs(connection: Connection, count: int) -> list[int]:
    """Numbers for new messages: known beforehand, so that all of them go in with one statement."""
    numbers = connection.exec_driver_sql(_NEW_REFS[connection.dialect.name], (count,)).scalars().all()
    return list(range(numbers[0] - count + 1, numbers[0] + 1)) if connection.dialect.name == "sqlite" else list(numbers)


def _take_keys(
    connection: Connection, acceptances: Sequence[Acceptance], refs: Sequence[int]
) -> Mapping[tuple[str, str], _Known] | None:
    """Takes each key for the first one that names it; returns who holds them, None if all were free."""
    rows = sorted(
        (acceptance.app_id, key, acceptance.fingerprint, acceptance.message_id, ref)
        for acceptance, ref in zip(acceptances, refs, strict=True)
        for key in acceptance.keys
    )
    if insert_many(connection, request_ids, _KEY_COLUMNS, rows, "DO NOTHING") == len(rows):
        return None
    columns = (request_ids.c.fingerprint, request_ids.c.message_id, request_ids.c.message_ref)
    keys = {row[:2] for row in rows}
    found = connection.execute(
        select(request_ids.c.app_id, request_ids.c.request_id, *columns).where(
            tuple_(request_ids.c.app_id, request_ids.c.request_id).in_(sorted(keys))
        )
    )
    return {(app_id, key): _Known(*holder) for app_id, key, *holder in found}


def _write(
    connection: Connection,
    acceptances: Sequence[Acceptance],
    refs: Sequence[int],
    new: Mapping[int, Acceptance],
    plans: Mapping[int, AudiencePage],
) -> set[int]:
    """Writes the new messages; returns the refs of those that got none because their message id is taken.

    Keys that were taken for what became no message are given back.
    """
    rows = sorted((_row(ref, acceptance, plans.get(ref)) for ref, acceptance in new.items()), key=itemgetter(0, 1, 2))
    refused: set[int] = set()
    if insert_many(connection, messages, _MESSAGE_COLUMNS, rows, "(app_id, message_id) DO NOTHING") < len(rows):
        written = connection.execute(select(messages.c.ref).where(messages.c.ref.in_(new))).scalars()
        refused = set(new).difference(written)
    vain = [
        (ref, acceptance) for acceptance, ref in zip(acceptances, refs, strict=True) if ref not in new or ref in refused
    ]
    keys = sorted((acceptance.app_id, key, ref) for ref, acceptance in vain for key in acceptance.keys)
    if keys:
        taken = tuple_(request_ids.c.app_id, request_ids.c.request_id, request_ids.c.message_ref)
        connection.execute(delete(request_ids).where(taken.in_(keys)))
    bodies = [(ref, acceptance.body) for ref, acceptance in new.items() if ref not in refused]
    insert_many(connection, payloads, ("message_ref", "body"), bodies)
    return refused


def _row(ref: int, acceptance: Acceptance, page: AudiencePage | None) -> tuple[object, ...]:
    scheduled = acceptance.fire_time > acceptance.accept_time
    completed = page is not None and not page.items
    state = MessageState.SCHEDULED if scheduled else MessageState.SENDING
    return (
        acceptance.app_id,
        acceptance.message_id,
        ref,
        acceptance.request_id,
        int(MessageState.COMPLETED if completed else state),
        acceptance.priority,
        acceptance.resend,
        acceptance.accept_time,
        acceptance.expire_time,
        acceptance.fire_time,
        acceptance.accept_time if completed else None,
        page is not None,
        "",
        0 if page is None else len(page.items),
        0,
        0 if page is None else len(page.missing),
        0 if page is None else len(page.missing),
        False,
    )

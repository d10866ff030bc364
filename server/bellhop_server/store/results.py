"""Results in SQL: what workers report, numbered by the message in the order in which it is committed."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, select, text

from bellhop_server.domain import DAY, Micros
from bellhop_server.domain.batch import BatchReport, ClaimedBatch, Recorded
from bellhop_server.domain.device import user_key
from bellhop_server.domain.message import MessageState, Outcome, Result, ResultFilter, message_key
from bellhop_server.domain.query import ResultQuery
from bellhop_server.store.batch_rows import insert_batches
from bellhop_server.store.database import Database
from bellhop_server.store.failures import StatementFailed
from bellhop_server.store.result_rows import count_results, insert_results
from bellhop_server.store.tables import batches, messages, results

TEXT_LENGTH = 256
# A request id is remembered a day longer than its message.
REQUEST_ID_LIFE: Micros = 31 * DAY

# SQLSTATE and SQLite's names for "there is such a row already".
_DUPLICATE = ("23505", "SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY")

_RESULT = tuple(results.c[name] for name in Result._fields)
# Looked up: calling the enum takes five times as long, for every result read.
_OUTCOMES = {outcome.value: outcome for outcome in Outcome}

# [[ref, how many], ...] as rows.
_GROWTH = {
    "sqlite": "SELECT json_extract(value, '$[0]') AS message_ref, json_extract(value, '$[1]') AS size"
    " FROM json_each(:growth)",
    "postgresql": "SELECT CAST(value ->> 0 AS bigint) AS message_ref, CAST(value ->> 1 AS integer) AS size"
    " FROM json_array_elements(CAST(:growth AS json))",
}
_GROW = {
    dialect: text(f"""
UPDATE messages SET
  result_seq = result_seq + size,
  finished_count = finished_count + size,
  state = CASE
    WHEN NOT planned OR finished_count + size <> device_count THEN state
    WHEN cancel_time IS NULL THEN {int(MessageState.COMPLETED)}
    ELSE {int(MessageState.CANCELLED)} END,
  complete_time = CASE WHEN planned AND finished_count + size = device_count THEN :now ELSE complete_time END
FROM ({growth}) AS growth WHERE ref = message_ref
RETURNING ref, app_id, message_id, request_id, state, result_seq
""")  # noqa: S608 - one of the two above
    for dialect, growth in _GROWTH.items()
}

# [[application, key], ...] as rows.
_KEYS = {
    "sqlite": "SELECT json_extract(value, '$[0]') AS app, json_extract(value, '$[1]') AS id FROM json_each(:keys)",
    "postgresql": "SELECT value ->> 0 AS app, value ->> 1 AS id FROM json_array_elements(CAST(:keys AS json))",
}
_FORGET_LATER = {
    dialect: text(f"""
UPDATE request_ids SET forget_time = :time FROM ({keys}) AS forgotten WHERE app_id = app AND request_id = id
""")  # noqa: S608 - one of the two above
    for dialect, keys in _KEYS.items()
}

# Put together once: that takes longer than carrying them out. Those that lock do so in order, so that two recorders
# never wait in a circle.
_HELD = (
    select(batches.c.batch_id, batches.c.lease, batches.c.message_ref, batches.c.app_id)
    .where(batches.c.batch_id.in_(bindparam("ids", expanding=True)))
    .order_by(batches.c.batch_id)
    .with_for_update()
)
_DONE = delete(batches).where(batches.c.batch_id.in_(bindparam("ids", expanding=True)))
_LOCKED = (
    select(messages.c.ref, messages.c.cancel_time)
    .where(messages.c.ref.in_(bindparam("refs", expanding=True)))
    .order_by(messages.c.ref)
    .with_for_update()
)


class _Holder(NamedTuple):
    """Whose a batch is now, and of what."""

    lease: str
    message_ref: int
    app_id: str


class _Numbering(NamedTuple):
    """Where the numbers of a message's new results begin, and whether they are its last."""

    next_seq: int
    completed: bool


class SqlResults:
    """Results and cursor numbers. Part of `ports.MessageStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, reports: Sequence[BatchReport], now: Micros) -> list[Recorded]:
        """See `ports.MessageStore`."""
        try:
            return await self._database.write(lambda connection: _record(connection, reports, now))
        except StatementFailed as failure:
            if failure.code not in _DUPLICATE:
                raise
        # The first result wins: what has one already is left out. Nobody looks for that unless it has happened.
        return await self._database.write(
            lambda connection: _record(connection, reports, now, _known(connection, reports))
        )

    async def reported(self, batch: ClaimedBatch) -> set[tuple[str, str]]:
        """See `ports.MessageStore`."""
        of_devices = {(item.device_id, item.user_id) for item in batch.items}
        device_ids = {batch.message_ref: [item.device_id for item in batch.items]}
        found = await self._database.read(lambda connection: _with_results(connection, device_ids))
        return of_devices & {(device_id, user_id) for _, device_id, user_id in found}

    async def list_results(self, query: ResultQuery, after_seq: int, limit: int) -> list[tuple[int, Result]]:
        """See `ports.MessageStore`."""
        if query.result_filter is ResultFilter.NONE:
            return []
        page = select(results.c.seq, *_RESULT).where(results.c.message_ref == query.ref, results.c.seq > after_seq)
        if query.result_filter is ResultFilter.FAILURES:
            page = page.where(results.c.outcome != Outcome.ACCEPTED)
        if query.outcomes:
            page = page.where(results.c.outcome.in_(query.outcomes))
        if query.platforms:
            page = page.where(results.c.platform.in_(query.platforms))
        if query.device_id:
            page = page.where(results.c.device_id == query.device_id)
        if query.user_id:
            page = page.where(results.c.user_key == user_key(query.user_id))
        page = page.order_by(results.c.seq).limit(limit)
        rows = await self._database.read(lambda connection: connection.execute(page).all())
        return [
            (seq, Result(device_id, user_id, platform, _OUTCOMES[outcome], *rest))
            for seq, device_id, user_id, platform, outcome, *rest in rows
        ]

    async def last_seq(self, ref: int) -> int:
        """See `ports.MessageStore`."""
        statement = select(messages.c.result_seq).where(messages.c.ref == ref)
        return await self._database.read(lambda connection: connection.execute(statement).scalar()) or 0


def forget_requests_later(connection: Connection, completed: Iterable[Any], now: Micros) -> None:
    """Begins the last span of life of the ids under which these were sent: rows, or what reads like them."""
    keys = sorted(
        (row.app_id, key) for row in completed for key in (message_key(row.message_id), row.request_id) if key
    )
    if keys:
        values = {"keys": json.dumps(keys), "time": now + REQUEST_ID_LIFE}
        connection.execute(_FORGET_LATER[connection.dialect.name], values)


def _record(
    connection: Connection,
    reports: Sequence[BatchReport],
    now: Micros,
    known: set[tuple[int, str, str]] | None = None,
) -> list[Recorded]:
    """`known`: (message ref, device id, user id) that have a result; None: taken to be none."""
    held = _held(connection, reports)
    fresh: list[list[Result] | None] = []
    done: list[tuple[BatchReport, str]] = []
    for report in reports:
        holder = held.get(report.batch_id)
        if holder is None or holder[:2] != (report.lease, report.message_ref):
            fresh.append(None)
            continue
        fresh.append(_fresh(report, known))
        if report.done:
            # What is reported of it after this comes too late.
            del held[report.batch_id]
            done.append((report, holder.app_id))
    growth = Counter[int]()
    for report, new in zip(reports, fresh, strict=True):
        growth[report.message_ref] += len(new or ())
    grown = {ref: size for ref, size in growth.items() if size}
    again = {report.message_ref for report, _ in done if report.again}
    cancelled = _lock(connection, again.union(grown)) if again or len(grown) > 1 else set()
    numbering = _grow(connection, grown, now)

    recorded: list[Recorded] = []
    numbered: list[tuple[int, int, Result]] = []
    for report, new in zip(reports, fresh, strict=True):
        ref = report.message_ref
        if new is None or (new and ref not in numbering):
            recorded.append(Recorded(ref, 0, [], completed=False, lost=True))
            continue
        first, completed = numbering.get(ref, (0, False))
        numbered += [(ref, first + place, result) for place, result in enumerate(new)]
        growth[ref] -= len(new)
        if new:
            numbering[ref] = _Numbering(first + len(new), completed)
        recorded.append(Recorded(ref, first, new, completed=completed and not growth[ref] and bool(new)))
    count_results(connection, insert_results(connection, numbered))
    if done:
        connection.execute(_DONE, {"ids": [report.batch_id for report, _ in done]})
        insert_batches(
            connection,
            [
                # There is no use in waiting for an attempt that will not be made.
                (report.message_ref, app_id, replace(batch, turn=0, retry=False))
                if report.message_ref in cancelled
                else (report.message_ref, app_id, batch)
                for report, app_id in done
                for batch in report.again
            ],
        )
    return recorded


def _held(connection: Connection, reports: Sequence[BatchReport]) -> dict[int, _Holder]:
    """The batches as they stay until this transaction ends."""
    rows = connection.execute(_HELD, {"ids": sorted({report.batch_id for report in reports})})
    return {batch_id: _Holder(*holder) for batch_id, *holder in rows}


def _fresh(report: BatchReport, known: set[tuple[int, str, str]] | None) -> list[Result]:
    new = []
    for result in report.results:
        # Providers' words: of any length, and PostgreSQL takes no NUL.
        texts = result.reason + result.provider_message_id
        if len(texts) > TEXT_LENGTH or "\0" in texts:
            result = result._replace(
                reason=_clean(result.reason), provider_message_id=_clean(result.provider_message_id)
            )
        if known is not None:
            key = (report.message_ref, result.device_id, result.user_id)
            if key in known:
                continue
            known.add(key)
        new.append(result)
    return new


def _clean(words: str) -> str:
    return words.replace("\0", "")[:TEXT_LENGTH]


def _known(connection: Connection, reports: Sequence[BatchReport]) -> set[tuple[int, str, str]]:
    device_ids: dict[int, list[str]] = {}
    for report in reports:
        device_ids.setdefault(report.message_ref, []).extend(result.device_id for result in report.results)
    return _with_results(connection, device_ids)


def _with_results(connection: Connection, device_ids: Mapping[int, Sequence[str]]) -> set[tuple[int, str, str]]:
    found: set[tuple[int, str, str]] = set()
    for ref, ids in device_ids.items():
        statement = select(results.c.message_ref, results.c.device_id, results.c.user_id).where(
            results.c.message_ref == ref, results.c.device_id.in_(ids)
        )
        found.update(tuple(row) for row in connection.execute(statement))
    return found


def _lock(connection: Connection, refs: Collection[int]) -> set[int]:
    """Keeps these messages as they are until the commit, in order; returns which of them have been cancelled."""
    rows = connection.execute(_LOCKED, {"refs": sorted(refs)})
    return {ref for ref, cancel_time in rows if cancel_time is not None}


def _grow(connection: Connection, growth: Mapping[int, int], now: Micros) -> dict[int, _Numbering]:
    """Hands out cursor numbers. The row stays locked until the commit, so their order is the order of the commits."""
    if not growth:
        return {}
    rows = connection.execute(
        _GROW[connection.dialect.name], {"growth": json.dumps(list(growth.items())), "now": now}
    ).all()
    forget_requests_later(connection, [row for row in rows if row.state != MessageState.SENDING], now)
    return {
        row.ref: _Numbering(row.result_seq - growth[row.ref] + 1, row.state != MessageState.SENDING) for row in rows
    }

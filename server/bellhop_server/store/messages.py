"""Messages in SQL: accepted, looked up, listed, counted."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Connection, Row, bindparam, select, tuple_, union_all

from bellhop_server.domain import Micros
from bellhop_server.domain.acceptance import Accepted
from bellhop_server.domain.errors import BellhopError, MessageNotFound
from bellhop_server.domain.message import (
    Audience,
    AudienceKind,
    Message,
    MessageCounts,
    MessageEnding,
    MessageState,
    ResendPolicy,
    Send,
    SendOptions,
)
from bellhop_server.domain.notification import Notification, Priority
from bellhop_server.domain.planning import Planning
from bellhop_server.store.acceptance import Acceptance, Accepting, accept_all
from bellhop_server.store.database import Database
from bellhop_server.store.group_writer import GroupWriter
from bellhop_server.store.message_body import decode
from bellhop_server.store.message_counts import counts_of, endings_of
from bellhop_server.store.tables import messages, payloads, request_ids

_MESSAGE = select(messages, payloads.c.body).outerjoin(payloads, payloads.c.message_ref == messages.c.ref)

# Of a message whose payload has been erased: an audience of nobody, and nothing to show.
_ERASED = (Audience(AudienceKind.USERS), Notification())

# Each may have an audience to be resolved, and others have something to write too.
_GROUP_LIMIT = 250

# Each has what was sent, up to 4 MiB.
_READ_AT_ONCE = 25
_OF_REFS = _MESSAGE.where(messages.c.ref.in_(bindparam("refs", expanding=True)))

_log = structlog.stdlib.get_logger(__name__)


class SqlMessages:
    """Messages themselves. Part of `ports.MessageStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._acceptances = GroupWriter[Acceptance, Accepting](database.write, accept_all, group_limit=_GROUP_LIMIT)
        self._wanted = GroupWriter[int, Message](database.read, _read, group_limit=_READ_AT_ONCE)

    async def find_send(self, app_id: str, keys: Sequence[str]) -> tuple[str, str] | None:
        """See `ports.MessageStore`."""
        statement = select(request_ids.c.request_id, request_ids.c.fingerprint, request_ids.c.message_id).where(
            request_ids.c.app_id == app_id, request_ids.c.request_id.in_(keys)
        )
        rows = await self._database.read(lambda connection: connection.execute(statement).all())
        known = {row.request_id: (row.fingerprint, row.message_id) for row in rows}
        return next((known[key] for key in keys if key in known), None)

    async def accept(self, send: Send, fingerprint: str, message_id: str, now: Micros) -> Accepted:
        """See `ports.MessageStore`. Raises MessageNotFound for a repeat of what retention has deleted."""
        accepting = await self._acceptances.submit(Acceptance.of(send, fingerprint, message_id, now))
        if accepting.replayed:
            return Accepted(await self._get(messages.c.ref == accepting.ref, accepting.message_id), replayed=True)
        return _accepted(send, accepting, now)

    async def accept_many(
        self, sends: Sequence[tuple[Send, str, str]], now: Micros, committed: Callable[[Accepted], None]
    ) -> list[Accepted | Exception]:
        """See `ports.MessageStore`."""
        new: dict[int, Accepted] = {}

        def applied(place: int, accepting: Accepting) -> None:
            if not accepting.replayed:
                accepted = new[place] = _accepted(sends[place][0], accepting, now)
                committed(accepted)

        commands = [Acceptance.of(*each, now) for each in sends]
        outcomes = await self._acceptances.submit_all(commands, applied)
        return [
            new[place] if place in new else await self._replayed(outcome) if isinstance(outcome, Accepting) else outcome
            for place, outcome in enumerate(outcomes)
        ]

    async def _replayed(self, accepting: Accepting) -> Accepted | BellhopError:
        try:
            return Accepted(await self.get_message_by_ref(accepting.ref), replayed=True)
        except MessageNotFound:
            return MessageNotFound(accepting.message_id)
        except BellhopError as error:
            return error

    async def get_message(self, app_id: str, message_id: str) -> Message:
        """See `ports.MessageStore`."""
        return await self._get((messages.c.app_id == app_id) & (messages.c.message_id == message_id), message_id)

    async def get_message_by_ref(self, ref: int) -> Message:
        """See `ports.MessageStore`."""
        return await self._wanted.submit(ref)

    async def list_messages(
        self,
        app_id: str,
        states: Sequence[MessageState],
        accepted_from: Micros | None,
        accepted_until: Micros | None,
        before: tuple[Micros, int] | None,
        limit: int,
    ) -> list[Message]:
        """See `ports.MessageStore`."""
        page = _MESSAGE.where(messages.c.app_id == app_id)
        if states:
            page = page.where(messages.c.state.in_(states))
        if accepted_from is not None:
            page = page.where(messages.c.accept_time >= accepted_from)
        if accepted_until is not None:
            page = page.where(messages.c.accept_time < accepted_until)
        if before is not None:
            page = page.where(tuple_(messages.c.accept_time, messages.c.ref) < before)
        page = page.order_by(messages.c.accept_time.desc(), messages.c.ref.desc()).limit(limit)
        rows = await self._database.read(lambda connection: connection.execute(page).all())
        return [_message(row) for row in rows]

    async def unplanned(self, limit: int) -> list[Planning]:
        """See `ports.MessageStore`."""
        # By priority one after the other, each along the index.
        firsts = (
            select(messages.c.ref)
            .where(~messages.c.planned, messages.c.state == MessageState.SENDING, messages.c.priority == priority)
            .order_by(messages.c.fire_time, messages.c.ref)
            .limit(limit)
            .subquery()
            for priority in Priority
        )
        page = (
            _MESSAGE.where(messages.c.ref.in_(union_all(*(select(first.c.ref) for first in firsts))))
            .order_by(messages.c.priority.desc(), messages.c.fire_time, messages.c.ref)
            .limit(limit)
        )
        rows = await self._database.read(lambda connection: connection.execute(page).all())
        found = []
        for row in rows:
            try:
                found.append(Planning(_message(row), row.plan_after, row.device_count))
            except ValueError as error:
                # Written by a later version, or damaged. It must not keep the others from being planned.
                _log.error("a message cannot be read", message_ref=row.ref, reason=str(error))
        return found

    async def counts(self, refs: Sequence[int]) -> dict[int, MessageCounts]:
        """See `ports.MessageStore`."""
        return await self._database.read(lambda connection: counts_of(connection, refs))

    async def endings(self, refs: Sequence[int]) -> dict[int, MessageEnding]:
        """See `ports.MessageStore`."""
        return await self._database.read(lambda connection: endings_of(connection, refs))

    async def close_messages(self) -> None:
        """Finishes what was taken and takes no more."""
        await self._acceptances.aclose()
        await self._wanted.aclose()

    async def _get(self, condition: ColumnElement[bool], message_id: str) -> Message:
        statement = _MESSAGE.where(condition)
        row = await self._database.read(lambda connection: connection.execute(statement).one_or_none())
        if row is None:
            raise MessageNotFound(message_id)
        return _message(row)


def _accepted(send: Send, accepting: Accepting, now: Micros) -> Accepted:
    """A new message."""
    fire_time = send.options.fire_time(now)
    state = MessageState.SCHEDULED if fire_time > now else MessageState.SENDING
    schedule_time = fire_time if fire_time > now else None
    completed = accepting.plan is not None and accepting.plan.completed
    message = Message(
        ref=accepting.ref,
        app_id=send.app_id,
        message_id=accepting.message_id,
        request_id=send.request_id,
        state=MessageState.COMPLETED if completed else state,
        accept_time=now,
        expire_time=fire_time + send.options.ttl,
        complete_time=now if completed else None,
        audience=send.audience,
        notification=send.notification,
        options=send.options
        if send.options.schedule_time == schedule_time
        else replace(send.options, schedule_time=schedule_time),
    )
    return Accepted(message, replayed=False, plan=accepting.plan)


def _read(connection: Connection, refs: list[int]) -> list[Message | BellhopError]:
    found = {row.ref: _message(row) for row in connection.execute(_OF_REFS, {"refs": refs})}
    return [found.get(ref) or MessageNotFound("") for ref in refs]


def _message(row: Row[Any]) -> Message:
    # Not `payload_erased`: an application that is being deleted loses its payloads first.
    erased = row.body is None
    audience, notification = _ERASED if erased else decode(row.body)
    return Message(
        ref=row.ref,
        app_id=row.app_id,
        message_id=row.message_id,
        request_id=row.request_id,
        state=MessageState(row.state),
        accept_time=row.accept_time,
        expire_time=row.expire_time,
        complete_time=row.complete_time,
        audience=audience,
        notification=notification,
        options=SendOptions(
            ttl=row.expire_time - row.fire_time,
            priority=Priority(row.priority),
            resend=ResendPolicy(row.resend),
            schedule_time=row.fire_time if row.fire_time > row.accept_time else None,
        ),
        payload_erased=erased,
    )

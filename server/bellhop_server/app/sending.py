"""Accepting a send: once, durably, before anybody is told."""

import re
from collections.abc import Callable
from uuid import uuid4

from bellhop_server.domain import Micros
from bellhop_server.domain.errors import RequestIdReused
from bellhop_server.domain.fingerprint import fingerprint
from bellhop_server.domain.message import Accepted, MessageCounts, MessageState, Send
from bellhop_server.ports import Clock, Queue, Store, Work

PAGE = 1000
_KEY = re.compile(r" ?[\x21-\x7e]{1,128}")


class Sending:
    """Takes sends."""

    def __init__(self, store: Store, queue: Queue, clock: Clock) -> None:
        self._store = store
        self._queue = queue
        self._clock = clock

    async def accept(self, send: Send, validate: Callable[[Micros], None]) -> Accepted:
        """Commits a send, or finds the message that it already is.

        A repeat is recognised before `validate` is called with the time, so that what was valid once stays a repeat.
        Raises what `validate` raises, RequestIdReused, MessageNotFound (a repeat of what retention has deleted).
        """
        mark = fingerprint(send)
        # What cannot be a key has never been one; it is for `validate` to say so.
        keys = [key for key in send.keys if _KEY.fullmatch(key)]
        known = await self._store.find_send(send.app_id, keys) if keys else None
        if known is not None:
            first_mark, message_id = known
            if first_mark != mark:
                raise RequestIdReused(send.request_id, message_id)
            return Accepted(await self._store.get_message(send.app_id, message_id), replayed=True)
        now = self._clock.now()
        validate(now)
        message_id = send.message_id or uuid4().hex
        accepted = await self._store.accept(send, mark, message_id, now)
        if not accepted.replayed:
            scheduled = accepted.message.state is MessageState.SCHEDULED
            self._queue.announce_work(Work.FIRE if scheduled else Work.PLAN)
        return accepted

    async def resolve(self, send: Send, validate: Callable[[Micros], None]) -> MessageCounts:
        """What the audience resolves to at this moment; stores and sends nothing. Raises what `validate` raises."""
        now = self._clock.now()
        validate(now)
        devices = missing = 0
        after: str | None = ""
        while after is not None:
            page = await self._store.read_audience(send.app_id, send.audience, after, PAGE, now)
            devices += len(page.items)
            missing += len(page.missing)
            after = page.after
        return MessageCounts(device_count=devices, planned=True, not_registered_count=missing)

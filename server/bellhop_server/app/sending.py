"""Accepting a send: once, durably, before anybody is told."""

import re
from collections.abc import Callable, Sequence
from secrets import token_hex

from bellhop_server.app.brief import Briefs
from bellhop_server.domain import Micros
from bellhop_server.domain.acceptance import Accepted
from bellhop_server.domain.errors import InvalidRequest, RequestIdReused, TagNotFound
from bellhop_server.domain.fingerprint import fingerprint
from bellhop_server.domain.message import AudienceKind, MessageCounts, MessageState, Send
from bellhop_server.domain.tag import BUILT_IN
from bellhop_server.ports import Clock, Queue, Store, Work

PAGE = 1000
_KEY = re.compile(r" ?[\x21-\x7e]{1,128}")


class Sending:
    """Takes sends."""

    def __init__(self, store: Store, queue: Queue, clock: Clock, briefs: Briefs) -> None:
        self._store = store
        self._briefs = briefs
        self._queue = queue
        self._clock = clock

    async def accept(self, send: Send, validate: Callable[[Micros], None]) -> Accepted:
        """Commits a send, or finds the message that it already is.

        A repeat is recognised whether or not `validate`, called with the time, likes it, and when a tag is gone: what
        was valid once stays one. Raises what `validate` raises, RequestIdReused, TagNotFound, MessageNotFound (a repeat
        of what retention has deleted).
        """
        mark, now = fingerprint(send), self._clock.now()
        repeat = await self._checked(send, mark, validate, now)
        if repeat is not None:
            return repeat
        accepted = await self._store.accept(send, mark, send.message_id or token_hex(16), now)
        if not accepted.replayed:
            self._announce(accepted)
        return accepted

    async def accept_many(
        self, sends: Sequence[tuple[Send, Callable[[Micros], None]]], committed: Callable[[Accepted], None]
    ) -> list[Accepted | Exception]:
        """What `accept` would return or raise for each send and its `validate`, with few commits for all of them.

        `committed` hears of each new message before anything that comes of it can be announced.
        """
        now = self._clock.now()
        outcomes: list[Accepted | Exception | None] = []
        checked: list[tuple[Send, str, str]] = []
        for send, validate in sends:
            try:
                mark = fingerprint(send)
                outcomes.append(await self._checked(send, mark, validate, now))
            except Exception as error:
                outcomes.append(error)
            else:
                if outcomes[-1] is None:
                    checked.append((send, mark, send.message_id or token_hex(16)))

        def announce(accepted: Accepted) -> None:
            committed(accepted)
            self._announce(accepted)

        accepted = iter(await self._store.accept_many(checked, now, announce))
        return [next(accepted) if outcome is None else outcome for outcome in outcomes]

    async def _checked(self, send: Send, mark: str, validate: Callable[[Micros], None], now: Micros) -> Accepted | None:
        """None: it is to be committed, unless the store knows it. Raises what `accept` raises."""
        try:
            validate(now)
            await self._check_tags(send)
        except (InvalidRequest, TagNotFound):
            repeat = await self._repeat(send, mark)
            if repeat is None:
                raise
            return repeat
        return None

    async def _repeat(self, send: Send, mark: str) -> Accepted | None:
        """The message that the send already is, if it was valid once. Raises RequestIdReused, MessageNotFound."""
        # What cannot be a key has never been one.
        keys = [key for key in send.keys if _KEY.fullmatch(key)]
        known = await self._store.find_send(send.app_id, keys) if keys else None
        if known is None:
            return None
        first_mark, message_id = known
        if first_mark != mark:
            raise RequestIdReused(send.request_id, message_id)
        return Accepted(await self._store.get_message(send.app_id, message_id), replayed=True)

    async def _check_tags(self, send: Send) -> None:
        """Raises TagNotFound."""
        if send.audience.kind is AudienceKind.TAGS:
            named = [name for name in send.audience.ids if name != BUILT_IN]
            known = await self._store.known_tags(send.app_id, named)
            for name in named:
                if name not in known:
                    raise TagNotFound(name)

    def _announce(self, accepted: Accepted) -> None:
        plan = accepted.plan
        if accepted.message.state is MessageState.SCHEDULED:
            self._queue.announce_work(Work.FIRE)
        elif plan is None:
            self._queue.announce_work(Work.PLAN)
        else:
            if plan.results or plan.completed:
                self._queue.announce_results(plan)
            if not plan.completed:
                self._briefs.keep(accepted.message)
                self._queue.announce_work(Work.DELIVER)

    async def resolve(self, send: Send, validate: Callable[[Micros], None]) -> MessageCounts:
        """What the audience resolves to at this moment; stores and sends nothing.

        Raises what `validate` raises, TagNotFound.
        """
        now = self._clock.now()
        validate(now)
        await self._check_tags(send)
        devices = missing = 0
        after: str | None = ""
        while after is not None:
            page = await self._store.read_audience(send.app_id, send.audience, after, PAGE, now)
            devices += len(page.items)
            missing += len(page.missing)
            after = page.after
        return MessageCounts(device_count=devices, planned=True, not_registered_count=missing)

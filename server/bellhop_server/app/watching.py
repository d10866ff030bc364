"""Streams: a view of what is committed, from any cursor on, at any reader's pace."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

from bellhop_server.app.following import Following
from bellhop_server.domain.errors import CursorInvalid, MessageNotFound, StreamInterrupted, Unavailable
from bellhop_server.domain.event import AcceptedEvent, Event, ProgressEvent, ResultsEvent, SummaryEvent
from bellhop_server.domain.message import Message, MessageCounts, MessageState, Result, ResultFilter, shown
from bellhop_server.domain.query import ResultQuery
from bellhop_server.ports import Clock, Listener, Queue, Store, Subscription

PAGE = 200
# Readers are promised a sign of life at least every 15 seconds; a reader that hides results sees the numbers move.
QUIET = 10.0
HIDDEN = 1.0


class Watching:
    """Opens streams on messages, and ends them all when the server goes down."""

    def __init__(self, store: Store, queue: Queue, clock: Clock) -> None:
        self._store = store
        self._queue = queue
        self._clock = clock
        self._open: set[Listener] = set()
        self._closing = False

    def interrupt(self) -> None:
        """Ends every open stream with StreamInterrupted, and each that is opened from now on."""
        self._closing = True
        for listener in self._open:
            listener.wake()

    @contextmanager
    def following(self) -> Iterator[Following]:
        """Follows many messages for one reader, until the context ends."""
        gathering = self._queue.gather()
        self._open.add(gathering)
        try:
            yield Following(gathering, self._store, self._clock, lambda: self._closing)
        finally:
            self._open.discard(gathering)
            gathering.close()

    async def watch(
        self, message: Message, after_seq: int, result_filter: ResultFilter, *, replayed: bool = False
    ) -> AsyncGenerator[Event]:
        """Events of a message beyond `after_seq`: accepted, results and progress as they come, summary.

        Holds one page in memory. Raises CursorInvalid for a number that the message has not come to, StreamInterrupted
        when the server goes down, the store is away or the message is deleted.
        """
        if after_seq and after_seq > await self._store.last_seq(message.ref):
            raise CursorInvalid(message.message_id)
        subscription = self._queue.subscribe(message.ref)
        self._open.add(subscription)
        try:
            yield AcceptedEvent(after_seq, message, replayed)
            async for event in self._follow(subscription, message, after_seq, result_filter):
                yield event
        except (Unavailable, MessageNotFound):
            raise StreamInterrupted(message.message_id, "") from None
        finally:
            self._open.discard(subscription)
            subscription.close()

    async def _follow(
        self, subscription: Subscription, message: Message, seq: int, result_filter: ResultFilter
    ) -> AsyncGenerator[Event]:
        told = self._clock.monotonic()
        hidden = overdue = False
        while True:
            if self._closing:
                raise StreamInterrupted(message.message_id, "")
            # After a silence the store is asked all the same: another process may have written what nobody told us.
            # Pages end at round numbers, so that the readers of a message get the same ones, wherever they began.
            size = PAGE - seq % PAGE
            page = None if overdue else subscription.recent(seq, size)
            asked, overdue = page is None, False
            if page is None and result_filter is ResultFilter.NONE:
                last = await self._store.last_seq(message.ref)
                hidden, seq, page = hidden or last > seq, last, []
            elif page is None:
                page = await self._read(message, seq, size)
            if page:
                seq += len(page)
                visible = shown(page, result_filter)
                hidden = hidden or len(visible) < len(page)
                if visible:
                    told = self._clock.monotonic()
                    yield ResultsEvent(seq, visible)
                elif self._clock.monotonic() - told >= HIDDEN:
                    told, hidden = self._clock.monotonic(), False
                    yield ProgressEvent(seq, await self._counts(message))
                continue
            if asked or subscription.completed:
                summary = await self._summary(message, seq)
                if summary is not None:
                    yield summary
                    return
                if not asked:
                    # The last results were announced before others that are older than they.
                    overdue = True
                    continue
            quiet = (HIDDEN if hidden else QUIET) - (self._clock.monotonic() - told)
            if quiet <= 0 or not await subscription.wait(quiet):
                overdue = not hidden
                told, hidden = self._clock.monotonic(), False
                yield ProgressEvent(seq, await self._counts(message))

    async def _read(self, message: Message, seq: int, limit: int) -> list[Result]:
        rows = await self._store.list_results(ResultQuery(message.ref), seq, limit)
        # Retention deletes a large message from its first result on; what is left of it is no stream any more.
        if rows and rows[-1][0] != seq + len(rows):
            raise MessageNotFound(message.message_id)
        return [result for _, result in rows]

    async def _summary(self, message: Message, seq: int) -> SummaryEvent | None:
        """The end, if the message has come to it and everything before it has been read."""
        if not _all_told(await self._counts(message), seq):
            return None
        now = await self._store.get_message_by_ref(message.ref)
        if now.state not in (MessageState.COMPLETED, MessageState.CANCELLED):
            return None
        # Read again: from that state on, and not before, nothing is added to what the message is for.
        counts = await self._counts(message)
        return SummaryEvent(seq, now, counts) if _all_told(counts, seq) else None

    async def _counts(self, message: Message) -> MessageCounts:
        counts = await self._store.counts([message.ref])
        if message.ref not in counts:
            raise MessageNotFound(message.message_id)
        return counts[message.ref]


def _all_told(counts: MessageCounts, seq: int) -> bool:
    """Whether each device and each missing id has its result, and the last of them is number `seq`."""
    return counts.finished_count == counts.device_count and seq == counts.finished_count + counts.not_registered_count

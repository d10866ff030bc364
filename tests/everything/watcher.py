"""A reader of one message's stream, who may be cut off at any time and goes on from its cursor."""

import asyncio
from contextlib import aclosing

from bellhop_server.domain.errors import MessageNotFound, ServiceUnavailable, StreamInterrupted
from bellhop_server.domain.event import AcceptedEvent, Event, ProgressEvent, ResultsEvent, SummaryEvent
from bellhop_server.domain.message import Message, Outcome, ResultFilter
from tests.everything.model import Model
from tests.everything.picture import Picture, ResultRow
from tests.everything.stage import Stage


class Watcher:
    """P10: each result once, in order, and only what is committed. `ended`: it has heard the summary."""

    def __init__(
        self,
        stage: Stage,
        picture: Picture,
        model: Model,
        message: Message,
        shows: ResultFilter,
        failed: list[BaseException],
    ) -> None:
        """What it finds wrong is put into `failed`."""
        self.ref = message.ref
        self.cursor = 0
        self.ended = False
        self.gone = False
        self.task: asyncio.Task[None] | None = None
        self._stage = stage
        self._picture = picture
        self._model = model
        self._message = message
        self._shows = shows
        self._failed = failed

    @property
    def watching(self) -> bool:
        """Whether its stream is open."""
        return self.task is not None and not self.task.done()

    def go_on(self) -> None:
        """Opens the stream, or opens it again."""
        if not self.watching and not self.ended and not self.gone:
            self.task = self._stage.spawn(self._watch())

    def cut(self) -> None:
        """The connection is lost."""
        if self.task is not None:
            self.task.cancel()

    async def _watch(self) -> None:
        watching = self._stage.server.watching
        first = True
        try:
            async with aclosing(watching.watch(self._message, self.cursor, self._shows)) as events:
                async for event in events:
                    assert isinstance(event, AcceptedEvent) == first
                    first = False
                    self._take(event)
        except (StreamInterrupted, MessageNotFound, ServiceUnavailable):
            self.gone = self.ref not in self._picture.messages
        except Exception as error:
            self._failed.append(error)

    def _take(self, event: Event) -> None:
        assert not self.ended, "P10: something comes after the end"
        rows = self._picture.results.get(self.ref, [])
        assert self.cursor <= event.seq <= len(rows), "P7: told before it was committed"
        due = [row for row in rows[self.cursor : event.seq] if self._is_shown(row)]
        told = event.results if isinstance(event, ResultsEvent) else []
        assert [(each.device_id, each.user_id, each.outcome) for each in told] == [
            (row.device_id, row.user_id, row.outcome) for row in due
        ], "P10: results are missing, or told twice"
        self.cursor = event.seq
        if isinstance(event, SummaryEvent | ProgressEvent):
            counts = event.counts
            assert counts.finished_count == sum(counts.outcomes.values())
        if isinstance(event, SummaryEvent):
            row = self._picture.messages.get(self.ref)
            assert row is None or (row.over and len(rows) == event.seq), "P7: a summary before the end"
            assert event.counts.finished_count == event.counts.device_count
            self.ended = True
            self._model.saw("summary")

    def _is_shown(self, row: ResultRow) -> bool:
        if self._shows is ResultFilter.FAILURES:
            return row.outcome is not Outcome.ACCEPTED
        return self._shows is ResultFilter.ALL

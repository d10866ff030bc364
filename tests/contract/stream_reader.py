"""A reader of streams that notes what it is told, and a writer of what there is to tell."""

import asyncio
from dataclasses import dataclass

import pytest

from bellhop_server.app.watching import Watching
from bellhop_server.domain.batch import ClaimedBatch
from bellhop_server.domain.event import AcceptedEvent, Event, ResultsEvent, SummaryEvent
from bellhop_server.domain.message import Message, Outcome, Result, ResultFilter
from bellhop_server.queue.local import LocalQueue
from bellhop_server.store.sql_store import SqlStore
from tests.contract.messaging import NOW, report, result

FILTERS = list(ResultFilter)


@dataclass
class Told:
    """What a reader was told over one or two streams."""

    results: list[tuple[str, Outcome]]
    seq: int = 0
    end: Event | None = None

    def take(self, event: Event) -> None:
        assert event.seq >= self.seq, "a cursor went back"
        self.seq = event.seq
        match event:
            case ResultsEvent(_, results):
                self.results += [(each.device_id, each.outcome) for each in results]
            case SummaryEvent():
                self.end = event


async def follow(watching: Watching, message: Message, told: Told, shown: ResultFilter, most: int = 10_000) -> None:
    """Reads up to so many events of a stream from where the last one ended."""
    stream = watching.watch(message, told.seq, shown)
    first = await anext(stream)
    assert isinstance(first, AcceptedEvent)
    assert first.seq == told.seq
    told.end = None
    while most > 0 and told.end is None:
        told.take(await anext(stream))
        most -= 1
    if told.end is not None:
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
    await stream.aclose()


def through(shown: ResultFilter, results: list[tuple[int, Result]]) -> list[tuple[str, Outcome]]:
    """What passes a filter."""
    assert shown in FILTERS
    kept = [] if shown is ResultFilter.NONE else [each for _, each in results]
    return [
        (each.device_id, each.outcome)
        for each in kept
        if shown is ResultFilter.ALL or each.outcome is not Outcome.ACCEPTED
    ]


OUTCOMES = (Outcome.ACCEPTED, Outcome.TOKEN_INVALID, Outcome.ACCEPTED, Outcome.UNKNOWN)


async def write(store: SqlStore, queue: LocalQueue, batch: ClaimedBatch, *, silent: bool) -> None:
    """Records a batch, a result at a time; what is `silent` is not announced, as if another process wrote it."""
    for at, item in enumerate(batch.items):
        done = at + 1 == len(batch.items)
        reported = report(batch, result(item.device_id, OUTCOMES[at % len(OUTCOMES)]), done=done)
        [recorded] = await store.record([reported], NOW)
        if not silent or recorded.completed:
            queue.announce_results(recorded)
        await asyncio.sleep(0)

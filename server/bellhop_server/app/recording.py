"""The recorder: final results are committed in groups, and only then told to anybody.

The next group is whatever came in while the last one was being written: a slow disk makes larger groups, not a queue.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence

from bellhop_server.domain.batch import BatchReport, ClaimedBatch, NewBatch, Recorded
from bellhop_server.domain.errors import ConcurrentChange, Exhausted, Unavailable
from bellhop_server.domain.message import Result
from bellhop_server.ports import Clock, Queue, Store, Work

# Results in one transaction: large enough to share the commit, small enough to hold nobody up.
GROUP = 1000
PAUSE = 0.2

_log = logging.getLogger(__name__)


class Ledger:
    """What is reported of one claimed batch. `settled` hears of results, by number, once they are out of our hands."""

    __slots__ = ("_batch", "_recorder", "_report", "broken", "finished", "settled")

    def __init__(self, recorder: "Recorder", batch: ClaimedBatch, settled: Callable[[int], None]) -> None:
        self.settled = settled
        self.finished: asyncio.Future[bool] | None = None
        self.broken = False
        """Something of it could not be written, so it must not be written as done."""
        self._recorder = recorder
        self._batch = batch
        self._report: BatchReport | None = None

    def add(self, result: Result) -> None:
        """Takes a final result; it is told once it is committed."""
        (self._report or self._open()).results.append(result)

    async def finish(self, again: list[NewBatch]) -> bool:
        """Ends the batch with what is left of it. True once committed; False: the lease was lost, or nothing of the
        batch can be written any more, and whoever claims it next decides by `resend`.
        """
        report = self._report or self._open()
        report.done = True
        report.again = again
        self.finished = asyncio.get_running_loop().create_future()
        return await self.finished

    def take(self) -> BatchReport:
        """What has come in; what comes after it is another report."""
        report = self._report
        assert report is not None
        self._report = None
        return report

    def _open(self) -> BatchReport:
        batch = self._batch
        report = self._report = BatchReport(batch.batch_id, batch.message_ref, batch.lease)
        self._recorder.expect(self)
        return report


_Entry = tuple[Ledger, BatchReport]


class Recorder:
    """Writes what workers report. One for each process."""

    def __init__(self, store: Store, queue: Queue, clock: Clock) -> None:
        self._store = store
        self._queue = queue
        self._clock = clock
        self._waiting: deque[Ledger] = deque()
        self._dirty = asyncio.Event()

    def open(self, batch: ClaimedBatch, settled: Callable[[int], None]) -> Ledger:
        """The ledger of a batch that has just been claimed."""
        return Ledger(self, batch, settled)

    def expect(self, ledger: Ledger) -> None:
        """The ledger has something to be written."""
        self._waiting.append(ledger)
        self._dirty.set()

    async def run(self) -> None:
        """Writes until cancelled."""
        while True:
            await self._dirty.wait()
            entries = self._take()
            for entry, recorded in zip(entries, await self._write(entries), strict=True):
                self._tell(*entry, recorded)

    def _take(self) -> list[_Entry]:
        taken: list[_Entry] = []
        size = 0
        while self._waiting and size < GROUP:
            ledger = self._waiting.popleft()
            report = ledger.take()
            taken.append((ledger, report))
            size += len(report.results)
        if not self._waiting:
            self._dirty.clear()
        return taken

    async def _write(self, entries: Sequence[_Entry]) -> list[Recorded | None]:
        """None: that one cannot be written."""
        broken = [ledger.broken for ledger, _ in entries]
        if any(broken):
            whole = [entry for entry in entries if not entry[0].broken]
            written = iter(await self._write(whole) if whole else [])
            return [None if is_broken else next(written) for is_broken in broken]
        while True:
            try:
                return list(await self._store.record([report for _, report in entries], self._clock.now()))
            except (Unavailable, Exhausted, ConcurrentChange):
                # The results are in memory and nowhere else: they wait for the store to come back.
                await self._clock.sleep(PAUSE)
            except Exception:
                _log.exception("recording failed")
                if len(entries) == 1:
                    entries[0][0].broken = True
                    return [None]
                return [recorded for entry in entries for recorded in await self._write([entry])]

    def _tell(self, ledger: Ledger, report: BatchReport, recorded: Recorded | None) -> None:
        written = recorded is not None and not recorded.lost
        if recorded is not None and written and (recorded.results or recorded.completed):
            self._queue.announce_results(recorded)
        ledger.settled(len(report.results))
        if not report.done:
            return
        if report.again:
            self._queue.announce_work(Work.DELIVER)
        if ledger.finished is not None and not ledger.finished.done():
            ledger.finished.set_result(written)

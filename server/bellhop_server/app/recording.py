"""The recorder: final results are committed in groups, and only then told to anybody.

The next group is whatever came in while the last one was being written: a slow disk makes larger groups, not a queue.
"""

import asyncio
import logging

from bellhop_server.domain.batch import BatchReport, ClaimedBatch, NewBatch, Recorded
from bellhop_server.domain.errors import Exhausted, Unavailable
from bellhop_server.domain.message import Result
from bellhop_server.ports import Clock, Queue, Store, Work

# Results in one transaction: large enough to share the commit, small enough to hold nobody up.
GROUP = 1000
PAUSE = 0.2

_log = logging.getLogger(__name__)


class Recorder:
    """Writes what workers report. One for each process."""

    def __init__(self, store: Store, queue: Queue, clock: Clock) -> None:
        self._store = store
        self._queue = queue
        self._clock = clock
        self._reports: dict[int, BatchReport] = {}
        self._finished: dict[int, asyncio.Future[bool]] = {}
        self._dirty = asyncio.Event()

    def add(self, batch: ClaimedBatch, result: Result) -> None:
        """Takes a final result; it is told once it is committed."""
        report = self._reports.get(batch.batch_id)
        if report is None:
            report = self._reports[batch.batch_id] = BatchReport(batch.batch_id, batch.message_ref, batch.lease)
            self._dirty.set()
        report.results.append(result)

    async def finish(self, batch: ClaimedBatch, again: list[NewBatch]) -> bool:
        """Ends the batch with what is left of it. True once committed; False: the lease was lost."""
        report = self._reports.setdefault(batch.batch_id, BatchReport(batch.batch_id, batch.message_ref, batch.lease))
        report.done = True
        report.again = again
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._finished[batch.batch_id] = future
        self._dirty.set()
        return await future

    async def run(self) -> None:
        """Writes until cancelled."""
        while True:
            await self._dirty.wait()
            reports = self._take()
            for recorded, report in zip(await self._write(reports), reports, strict=True):
                self._tell(report, recorded)

    def _take(self) -> list[BatchReport]:
        taken: list[BatchReport] = []
        size = 0
        while self._reports and size < GROUP:
            batch_id = next(iter(self._reports))
            report = self._reports.pop(batch_id)
            taken.append(report)
            size += len(report.results)
        if not self._reports:
            self._dirty.clear()
        return taken

    async def _write(self, reports: list[BatchReport]) -> list[Recorded | None]:
        while True:
            try:
                return list(await self._store.record(reports, self._clock.now()))
            except (Unavailable, Exhausted):
                # The results are in memory and nowhere else: they wait for the store to come back.
                await self._clock.sleep(PAUSE)
            except Exception:
                _log.exception("recording failed")
                if len(reports) == 1:
                    return [None]
                return [recorded for report in reports for recorded in await self._write([report])]

    def _tell(self, report: BatchReport, recorded: Recorded | None) -> None:
        written = recorded is not None and not recorded.lost
        if recorded is not None and written and (recorded.results or recorded.completed):
            self._queue.announce_results(recorded)
        if report.again:
            self._queue.announce_work(Work.DELIVER)
        future = self._finished.pop(report.batch_id, None) if report.done else None
        if future is not None and not future.done():
            future.set_result(written)

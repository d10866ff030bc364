"""The recorder: final results are committed in groups, and only then told to anybody.

The next group is whatever came in while the last one was being written: a slow disk makes larger groups, not a queue.
"""

import asyncio
import logging

from bellhop_server.domain.batch import BatchReport, ClaimedBatch, NewBatch, Recorded
from bellhop_server.domain.errors import ConcurrentChange, Exhausted, Unavailable
from bellhop_server.domain.message import Result
from bellhop_server.ports import Clock, Queue, Store, Work

# Results in one transaction: large enough to share the commit, small enough to hold nobody up.
GROUP = 1000
PAUSE = 0.2

_log = logging.getLogger(__name__)

_Key = tuple[int, str]
"""(batch id, lease)."""


class Recorder:
    """Writes what workers report. One for each process."""

    def __init__(self, store: Store, queue: Queue, clock: Clock) -> None:
        self._store = store
        self._queue = queue
        self._clock = clock
        # By lease: a batch may come back under another one while the report under the former still waits.
        self._reports: dict[_Key, BatchReport] = {}
        self._finished: dict[_Key, asyncio.Future[bool]] = {}
        self._failed: set[_Key] = set()
        self._dirty = asyncio.Event()

    def add(self, batch: ClaimedBatch, result: Result) -> None:
        """Takes a final result; it is told once it is committed."""
        self._report(batch).results.append(result)

    async def finish(self, batch: ClaimedBatch, again: list[NewBatch]) -> bool:
        """Ends the batch with what is left of it. True once committed; False: the lease was lost, or nothing of the
        batch can be written any more, and whoever claims it next decides by `resend`.
        """
        report = self._report(batch)
        report.done = True
        report.again = again
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._finished[batch.batch_id, batch.lease] = future
        return await future

    async def run(self) -> None:
        """Writes until cancelled."""
        while True:
            await self._dirty.wait()
            reports = self._take()
            for recorded, report in zip(await self._write(reports), reports, strict=True):
                self._tell(report, recorded)

    def _report(self, batch: ClaimedBatch) -> BatchReport:
        key = (batch.batch_id, batch.lease)
        report = self._reports.get(key)
        if report is None:
            report = self._reports[key] = BatchReport(batch.batch_id, batch.message_ref, batch.lease)
            self._dirty.set()
        return report

    def _take(self) -> list[BatchReport]:
        taken: list[BatchReport] = []
        size = 0
        while self._reports and size < GROUP:
            report = self._reports.pop(next(iter(self._reports)))
            taken.append(report)
            size += len(report.results)
        if not self._reports:
            self._dirty.clear()
        return taken

    async def _write(self, reports: list[BatchReport]) -> list[Recorded | None]:
        """None: that one cannot be written. A batch of which something is missing must not be written as done."""
        whole = [report for report in reports if (report.batch_id, report.lease) not in self._failed]
        if len(whole) < len(reports):
            written = iter(await self._write(whole) if whole else [])
            return [next(written) if report in whole else None for report in reports]
        while True:
            try:
                return list(await self._store.record(reports, self._clock.now()))
            except (Unavailable, Exhausted, ConcurrentChange):
                # The results are in memory and nowhere else: they wait for the store to come back.
                await self._clock.sleep(PAUSE)
            except Exception:
                _log.exception("recording failed")
                if len(reports) == 1:
                    self._failed.add((reports[0].batch_id, reports[0].lease))
                    return [None]
                return [recorded for report in reports for recorded in await self._write([report])]

    def _tell(self, report: BatchReport, recorded: Recorded | None) -> None:
        written = recorded is not None and not recorded.lost
        if recorded is not None and written and (recorded.results or recorded.completed):
            self._queue.announce_results(recorded)
        if not report.done:
            return
        if report.again:
            self._queue.announce_work(Work.DELIVER)
        key = (report.batch_id, report.lease)
        self._failed.discard(key)
        future = self._finished.pop(key, None)
        if future is not None and not future.done():
            future.set_result(written)

"""The planner: turns audiences into batches, page by page, so that no audience is ever in memory as a whole."""

import logging

from bellhop_server.domain.batch import BATCH_SIZE
from bellhop_server.domain.errors import ConcurrentChange, MessageNotFound, Unavailable
from bellhop_server.domain.planning import Planning, batches_of
from bellhop_server.ports import Clock, Queue, Store, Work

PAGE = 8 * BATCH_SIZE
AT_ONCE = 16
POLL = 5.0
PAUSE = 0.5

_log = logging.getLogger(__name__)


class Planner:
    """Plans what has been accepted. Several may run: the cursor of a message moves by compare-and-set."""

    def __init__(self, store: Store, queue: Queue, clock: Clock) -> None:
        self._store = store
        self._queue = queue
        self._clock = clock
        self._open: dict[int, Planning] = {}

    async def run(self) -> None:
        """Plans until cancelled; what a cancelled or killed planner leaves is found by the next."""
        listener = self._queue.listen(Work.PLAN)
        # For what there was before anybody listened.
        listener.wake()
        try:
            while True:
                if await listener.wait(0 if self._open else POLL) or not self._open:
                    await self._find()
                # One page of each message in turn: a broadcast does not hold up what comes behind it.
                for planning in list(self._open.values()):
                    await self._advance(planning)
        finally:
            listener.close()

    async def _find(self) -> None:
        try:
            found = await self._store.unplanned(AT_ONCE)
        except Exception as error:
            if not isinstance(error, Unavailable):
                _log.exception("looking for what to plan failed")
            await self._clock.sleep(PAUSE)
            return
        for planning in found:
            self._open.setdefault(planning.message.ref, planning)

    async def _advance(self, planning: Planning) -> None:
        try:
            await self._plan_page(planning)
        except (ConcurrentChange, MessageNotFound):
            # Another planner was quicker, or the message is gone: look again.
            del self._open[planning.message.ref]
            self._queue.announce_work(Work.PLAN)
        except Exception as error:
            if not isinstance(error, Unavailable):
                _log.exception("planning failed")
            del self._open[planning.message.ref]
            await self._clock.sleep(PAUSE)

    async def _plan_page(self, planning: Planning) -> None:
        message = planning.message
        now = self._clock.now()
        page = await self._store.read_audience(message.app_id, message.audience, planning.after, PAGE, now)
        batches = batches_of(page.items, message.fire_time, message.options.priority, planning.device_count)
        recorded = await self._store.add_plan(message.ref, planning.after, page, batches, now)
        if page.after is None:
            del self._open[message.ref]
        else:
            self._open[message.ref] = Planning(message, page.after, planning.device_count + len(page.items))
        if batches:
            self._queue.announce_work(Work.DELIVER)
        if recorded.results or recorded.completed:
            self._queue.announce_results(recorded)

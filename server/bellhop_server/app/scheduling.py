"""The scheduler: hands messages over to the planner when their time has come."""

import logging

from bellhop_server.domain import SECOND
from bellhop_server.domain.errors import Unavailable
from bellhop_server.ports import Clock, Queue, Store, Work

# Messages that may fall due together are put on their way so many at a time.
AT_ONCE = 500
# How late at most, in seconds, a schedule is noticed of which nobody told us, or a step of the database's clock.
POLL = 5.0
PAUSE = 0.5

_log = logging.getLogger(__name__)


class Scheduler:
    """Fires what is scheduled. Several may run: a message is fired once."""

    def __init__(self, store: Store, queue: Queue, clock: Clock) -> None:
        self._store = store
        self._queue = queue
        self._clock = clock

    async def run(self) -> None:
        """Fires until cancelled; what fell due while nobody did is fired at once."""
        listener = self._queue.listen(Work.FIRE)
        try:
            while True:
                await listener.wait(await self._advance())
        finally:
            listener.close()

    async def _advance(self) -> float:
        """Fires what is due; returns the seconds until somebody should look again."""
        try:
            while (left := await self._store.until_fire(self._clock.now())) is not None and left <= 0:
                if not await self._store.fire(self._clock.now(), AT_ONCE):
                    return PAUSE
                self._queue.announce_work(Work.PLAN)
        except Exception as error:
            if not isinstance(error, Unavailable):
                _log.exception("firing failed")
            return PAUSE
        return POLL if left is None else min(POLL, left / SECOND)

"""Retention: what is old goes, and bindings that have ended are ended in the rows, a little at a time."""

import logging
from itertools import groupby
from operator import itemgetter

from bellhop_server.domain.errors import BellhopError
from bellhop_server.domain.registration import Expire
from bellhop_server.ports import Clock, Store

ROWS = 1000
BINDINGS = 100
# Between two rounds, and between two steps of one, so that a sweep is never the reason that somebody waits.
ROUND = 600.0
STEP = 0.1

_log = logging.getLogger(__name__)


class Sweeper:
    """Deletes what retention has ended, and unbinds devices whose binding has ended."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def run(self) -> None:
        """Sweeps until cancelled."""
        while True:
            try:
                while await self._end_bindings() + await self._store.sweep(self._clock.now(), ROWS):
                    await self._clock.sleep(STEP)
            except BellhopError as error:
                _log.warning("retention waits", extra={"reason": error.reason})
            await self._clock.sleep(ROUND)

    async def _end_bindings(self) -> int:
        """Nobody sees a difference: to all who read, these devices have been anonymous since their bindings ended."""
        now = self._clock.now()
        ended = await self._store.ended_bindings(now, BINDINGS)
        for app_id, pairs in groupby(sorted(ended), itemgetter(0)):
            await self._store.execute(Expire(app_id, tuple(device_id for _, device_id in pairs), now))
        return len(ended)

"""Retention: what is old goes, a little at a time."""

import logging

from bellhop_server.domain.errors import BellhopError
from bellhop_server.ports import Clock, MessageStore

ROWS = 1000
# Between two rounds, and between two steps of one, so that a sweep is never the reason that somebody waits.
ROUND = 600.0
STEP = 0.1

_log = logging.getLogger(__name__)


class Sweeper:
    """Deletes what retention has ended."""

    def __init__(self, store: MessageStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def run(self) -> None:
        """Sweeps until cancelled."""
        while True:
            try:
                while await self._store.sweep(self._clock.now(), ROWS):
                    await self._clock.sleep(STEP)
            except BellhopError as error:
                _log.warning("retention waits", extra={"reason": error.reason})
            await self._clock.sleep(ROUND)

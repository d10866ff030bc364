"""Time in a play: the machine's, which jumps over every wait for the next attempt."""

import asyncio
import sqlite3
from contextlib import closing

from bellhop_server.domain import SECOND
from bellhop_server.store.database import sqlite_path
from tests.apns_desk import MovableClock

_PAUSE = 0.005
_LEFT = "SELECT count(*), min(turn), sum(lease_until > 0 OR NOT retry) FROM batches"
_UNPLANNED = "SELECT count(*) FROM messages WHERE NOT planned"


class ProviderClock:
    """The provider's clock: ours, but for what ours is ahead of it."""

    def __init__(self, clock: MovableClock, ahead: float) -> None:
        self._clock = clock
        self._ahead = ahead

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._clock.now() / SECOND - self._ahead


class Leaps:
    """Moves the clock to the next attempt whenever nothing at all is to be done before it; counts the seconds."""

    def __init__(self, clock: MovableClock, database_url: str) -> None:
        path = sqlite_path(database_url)
        assert path is not None, "time is PostgreSQL's own"
        self._clock = clock
        self._uri = f"file:{path}?mode=ro"
        self.seconds = 0.0

    async def run(self) -> None:
        """Leaps until cancelled."""
        with closing(sqlite3.connect(self._uri, uri=True)) as eye:
            while True:
                await asyncio.sleep(_PAUSE)
                self._leap(eye)

    def _leap(self, eye: sqlite3.Connection) -> None:
        batches, due, busy = eye.execute(_LEFT).fetchone()
        if not batches or busy or eye.execute(_UNPLANNED).fetchone()[0]:
            return
        wait = (due - self._clock.now()) / SECOND
        if wait > 0:
            self._clock.advance(wait)
            self.seconds += wait

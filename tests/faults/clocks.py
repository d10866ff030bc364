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
_UNKNOWN = "SELECT count(*) FROM devices WHERE NOT target_accepted"


class ProviderClock:
    """The provider's clock: ours, but for what ours is ahead of it."""

    def __init__(self, clock: MovableClock, ahead: float) -> None:
        self._clock = clock
        self._ahead = ahead

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._clock.now() / SECOND - self._ahead


async def leap(clock: MovableClock, database_url: str) -> None:
    """Moves the clock to the next attempt whenever nothing at all is to be done before it, until cancelled."""
    with closing(_eye(database_url)) as eye:
        while True:
            await asyncio.sleep(_PAUSE)
            batches, due, busy = eye.execute(_LEFT).fetchone()
            if batches and not busy and not eye.execute(_UNPLANNED).fetchone()[0]:
                clock.advance(max(0.0, (due - clock.now()) / SECOND))


async def all_known(database_url: str) -> None:
    """Returns once it is written of every device that a push for it was accepted, which nobody is told."""
    with closing(_eye(database_url)) as eye:
        while eye.execute(_UNKNOWN).fetchone()[0]:  # noqa: ASYNC110 - what is written there has no event
            await asyncio.sleep(_PAUSE)


def _eye(database_url: str) -> sqlite3.Connection:
    path = sqlite_path(database_url)
    assert path is not None, "PostgreSQL has a clock of its own"
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True)

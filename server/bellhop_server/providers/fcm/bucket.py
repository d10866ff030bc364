"""How fast a Firebase project may be sent to: a token bucket, emptied and stopped when Google says it was too much."""

import asyncio

from bellhop_server.ports import Clock

# Seconds that are not worth waiting for.
_TICK = 0.001


class Bucket:
    """`rate` messages per second, and a second's worth at once. For this process alone: others have theirs.

    Time stands still in it while it is paused, so that the order of those that wait stays, and nobody comes back to a
    full bucket.
    """

    def __init__(self, rate: float, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._level = rate
        self._filled = clock.monotonic()
        self._paused_until = self._filled
        self._stood_still = 0.0

    async def take(self, count: int, deadline: float) -> float | None:
        """Waits until it is this caller's turn for so many; None: it has come.

        Otherwise it cannot come before `deadline` (monotonic seconds), and the seconds to come back after; nothing was
        taken. Raises CancelledError, and gives back what was not used.
        """
        ready = self._reserve(count)
        try:
            while (left := self._left(ready)) > _TICK:
                if self._clock.monotonic() + left > deadline:
                    self._level += count
                    return left
                await self._clock.sleep(left)
        except asyncio.CancelledError:
            self._level += count
            raise
        return None

    def pause(self, seconds: float) -> None:
        """Nobody's turn comes before so many seconds from now, and the bucket is empty then."""
        self._fill()
        now = self._clock.monotonic()
        until = max(self._paused_until, now + seconds)
        self._stood_still += until - max(self._paused_until, now)
        self._paused_until = until
        self._level = min(self._level, 0.0)

    def _reserve(self, count: int) -> float:
        """Takes so many from the bucket, into debt if need be; returns when that much will have come in."""
        self._fill()
        # Of more than a second's worth the turn is there when the bucket is full, and the rest is paid off after it.
        missing = min(count, self._rate) - self._level
        self._level -= count
        return self._filled + max(missing, 0.0) / self._rate

    def _left(self, ready: float) -> float:
        """Seconds until that time of the bucket."""
        now = self._clock.monotonic()
        return max(self._paused_until - now, 0.0) + max(ready - self._time(now), 0.0)

    def _fill(self) -> None:
        now = self._time(self._clock.monotonic())
        self._level = min(self._level + (now - self._filled) * self._rate, self._rate)
        self._filled = now

    def _time(self, now: float) -> float:
        """The bucket's own time: that of the clock without all pauses."""
        return max(now, self._paused_until) - self._stood_still

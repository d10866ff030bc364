"""The time that the rules of a simulator go by: the machine's, or one that a test moves.

Only the rules use it: age of provider tokens, the 20-minute rule, how long a notification is stored, timestamps of
answers. Delays of faults always pass in real seconds.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> float:
        """Seconds since the epoch."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, start: float | None = None) -> None:
        """Start at `start`, seconds since the epoch; default: the present."""
        self._now = time.time() if start is None else start

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move by `seconds`; negative goes back."""
        self._now += seconds

"""The mass-deletion guard: a wrong key, topic or environment must not erase a user base.

A 400 that calls a token bad is believed only while such answers are rare among targets that the provider had accepted
before; a 410 with its time is proof by itself and needs no guard.

A push service that refuses the key of one subscription while it takes those of others is believed when it has done so
often enough, for long enough.
"""

from collections import deque
from typing import Generic, TypeVar

from bellhop_server.domain import DAY, Micros

WINDOW = 200
MINIMUM = 50
LIMIT = 0.2
MAX_HELD = 1000

MOST_REFUSALS = 3
LEAST_DOUBT: Micros = DAY

T = TypeVar("T")


class DeletionGuard(Generic[T]):
    """Of one application and network: the last answers, and the targets whose deletion waits for a judgement."""

    def __init__(self) -> None:
        self._answers: deque[bool] = deque(maxlen=WINDOW)
        self._bad = 0
        self._held: deque[T] = deque(maxlen=MAX_HELD)

    def note(self, bad: bool) -> None:
        """Counts one final answer about a target that had been accepted before; proofs (410) are not counted."""
        if len(self._answers) == WINDOW:
            self._bad -= self._answers[0]
        self._answers.append(bad)
        self._bad += bad

    def hold(self, target: T) -> None:
        """Keeps a target that a 400 called bad until there is enough to judge by."""
        self._held.append(target)

    @property
    def ready(self) -> bool:
        """Whether targets are held and there is enough to judge by."""
        return bool(self._held) and len(self._answers) >= MINIMUM

    @property
    def tripped(self) -> bool:
        """Whether so many are called bad that the fault must be elsewhere."""
        return len(self._answers) >= MINIMUM and self._bad > LIMIT * len(self._answers)

    def release(self) -> list[T]:
        """The targets that may be deleted now. Once tripped, those held are let live."""
        if not self.ready:
            return []
        released = [] if self.tripped else list(self._held)
        self._held.clear()
        return released

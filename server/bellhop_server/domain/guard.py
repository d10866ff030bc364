"""The mass-deletion guard: a wrong key, topic or environment must not erase a user base.

A 400 that calls a token bad is believed only while such answers are rare among targets that the provider had accepted
before; a 410 with its time is proof by itself and needs no guard. No answer is judged alone or at once: a broadcast may
meet all of the good targets first, or come to another environment's only at its end. So what comes without a pause is a
round, and is judged as a whole when it is over, whatever its order was; until then a bad target lives. A round that is
too small to judge by goes on with the next one. Besides, a round in which the last answers were too bad at any moment
is not believed: many good ones from before the key was exchanged would hide it.

A push service that refuses the key of one subscription while it takes those of others is believed when it has done so
in several rounds that were believed, for long enough.
"""

from collections import deque

from bellhop_server.domain import DAY, Micros

WINDOW = 200
MINIMUM = 50
LIMIT = 0.2

# Seconds without an answer that end a round: longer than a broadcast pauses on its way, and no longer than somebody who
# looks for the dead behind it waits. And how long one may last, once it is large enough, where answers never pause.
QUIET = 2.0
LONGEST = 600.0

MOST_REFUSALS = 3
LEAST_DOUBT: Micros = DAY


class DeletionGuard:
    """Of one application and network. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._last: deque[bool] = deque(maxlen=WINDOW)
        self._bad_of_last = 0
        self._begun = self._latest = 0.0
        self._answers = self._bad = 0
        self._tripped = False

    def note(self, good: int, bad: int, now: float) -> None:
        """Counts final answers, in no order, about targets that had been accepted before; proofs (410) do not count."""
        total = good + bad
        if self._answers < MINIMUM:
            self._begun = now
        self._latest = now
        self._answers += total
        self._bad += bad
        # The last answers are as good and as bad as all of these.
        for number in range(max(0, total - WINDOW), total):
            if len(self._last) == WINDOW:
                self._bad_of_last -= self._last[0]
            is_bad = (number + 1) * bad // total > number * bad // total
            self._last.append(is_bad)
            self._bad_of_last += is_bad
            self._tripped |= _too_many(self._bad_of_last, len(self._last))

    def over(self, now: float) -> bool:
        """Whether the round has ended and there is enough to judge by."""
        paused, lasted = now - self._latest, now - self._begun
        return self._answers >= MINIMUM and (paused >= QUIET or lasted >= LONGEST)

    @property
    def trusted(self) -> bool:
        """Whether what the round has called bad may be deleted, by what is known so far."""
        return not self._tripped and not _too_many(self._bad, self._answers)

    def start_over(self) -> None:
        """The next answer is the first of a round."""
        self._last.clear()
        self._bad_of_last = 0
        self._answers = self._bad = 0
        self._tripped = False


def _too_many(bad: int, answers: int) -> bool:
    """Whether so many are called bad that the fault must be elsewhere."""
    return answers >= MINIMUM and bad > LIMIT * answers

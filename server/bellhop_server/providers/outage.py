"""A provider that is away, or fails more often than not: it is spared, but for one request now and then.

So its devices wait in the store and not in the hands of this process, and it never takes the room of the others.
"""

from bellhop_server.domain.delivery import Answer, Verdict
from bellhop_server.ports import Clock
from bellhop_server.providers.breaker import OpenBreaker
from bellhop_server.providers.reasons import Reason

WINDOW = 20
MOST_FAILURES = 10
PAUSES = (10.0, 30.0, 120.0, 900.0)

_ALL = (1 << WINDOW) - 1

# What a provider that is away or overloaded looks like from here. The others are our own doing, of one request, or of
# one connection that took many with it.
_SIGNS = frozenset(
    {
        Reason.CONNECTION_REFUSED,
        Reason.CONNECTION_FAILED,
        Reason.CONNECT_TIMEOUT,
        Reason.TLS_FAILED,
        Reason.NO_HTTP2,
        Reason.HANDOVER_TIMEOUT,
        Reason.ANSWER_TIMEOUT,
        Reason.PING_TIMEOUT,
        Reason.WRITE_TIMEOUT,
    }
)


class Outage:
    """The last answers on one way to a provider, and the breaker that they open. `breaker` None: none is open."""

    def __init__(self, clock: Clock) -> None:
        self.breaker: OpenBreaker | None = None
        self.failures = 0
        """Of the last 20. While there are none, nothing has to be noted."""
        self._recent = 0
        self._times = 0
        self._clock = clock

    def note(self, answer: Answer) -> bool:
        """Counts an answer; returns whether it opens the breaker."""
        failed = answer.verdict is Verdict.PROVIDER_UNAVAILABLE or (answer.status == 0 and answer.reason in _SIGNS)
        self._recent = (self._recent << 1 | failed) & _ALL
        self.failures = self._recent.bit_count()
        if self.breaker is not None or self.failures < MOST_FAILURES:
            return False
        self._open(answer)
        return True

    def failed(self, answer: Answer) -> None:
        """The one request that was let through met the same."""
        self._open(answer)

    def close(self) -> None:
        """The provider is there again."""
        self.breaker = None
        self._recent = self.failures = self._times = 0

    def _open(self, answer: Answer) -> None:
        pause = PAUSES[min(self._times, len(PAUSES) - 1)]
        self._times += 1
        refusal = Answer(Verdict.NOT_SENT, answer.status, answer.reason)
        self.breaker = OpenBreaker(refusal, self._clock.monotonic() + max(pause, answer.retry_after or 0.0))

"""Breakers: what a provider refused for good, or asked to be spared, is left alone for a while."""

from dataclasses import dataclass

from bellhop_server.domain.delivery import Answer, Verdict
from bellhop_server.ports import Clock

PAUSE = 300.0

Scope = tuple[str, ...]
"""What a breaker concerns, from the widest word to the narrowest: all that begins with it."""


@dataclass(slots=True)
class OpenBreaker:
    """`refusal` is what everything is answered with: NOT_SENT where it may go later. `retry_at` monotonic seconds."""

    refusal: Answer
    retry_at: float
    probing: bool = False

    def answer(self, now: float) -> Answer:
        """What is told to whom it concerns."""
        if self.refusal.verdict is Verdict.NOT_SENT:
            return self.refusal._replace(retry_after=max(self.retry_at - now, 0.0))
        return self.refusal


class Breakers:
    """Those of one credential."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[Scope, OpenBreaker] = {}

    def find(self, scope: Scope) -> OpenBreaker | None:
        """The open one that concerns this, the widest if there are several."""
        if not self._open:
            return None
        for length in range(len(scope) + 1):
            breaker = self._open.get(scope[:length])
            if breaker is not None:
                return breaker
        return None

    def trip(self, scope: Scope, refusal: Answer, pause: float = PAUSE) -> bool:
        """Opens one, or leaves what is open closed to others for longer; returns whether it had been closed."""
        known = self._open.get(scope)
        self._open[scope] = OpenBreaker(refusal, self._clock.monotonic() + pause)
        return known is None

    def close(self, breaker: OpenBreaker) -> None:
        """A request has passed it."""
        self._open = {scope: each for scope, each in self._open.items() if each is not breaker}

    def disprove(self, scope: Scope, reason: str) -> None:
        """What was refused there for that reason goes through after all."""
        breaker = self._open.get(scope)
        if breaker is not None and breaker.refusal.reason == reason:
            self.close(breaker)

    def all(self) -> list[OpenBreaker]:
        """All that are open."""
        return list(self._open.values())

"""Breakers: what a provider refused for good is left alone for a while, but for one request now and then."""

from dataclasses import dataclass

from bellhop_server.domain.delivery import Answer
from bellhop_server.domain.device import ApnsEnvironment
from bellhop_server.ports import Clock

PAUSE = 300.0

EVERY_TOPIC = ""


@dataclass(slots=True)
class OpenBreaker:
    """`refusal` is what everything is answered with; `retry_at` monotonic seconds."""

    refusal: Answer
    retry_at: float
    probing: bool = False


class Breakers:
    """Those of one credential. A refused key concerns an environment, a refused topic that topic in it alone."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[tuple[ApnsEnvironment, str], OpenBreaker] = {}

    def find(self, environment: ApnsEnvironment, topic: str) -> OpenBreaker | None:
        """The open one that concerns this, if any."""
        if not self._open:
            return None
        return self._open.get((environment, EVERY_TOPIC)) or self._open.get((environment, topic))

    def may_probe(self, breaker: OpenBreaker) -> bool:
        """Whether it is time for one request, which nobody else is making."""
        return not breaker.probing and self._clock.monotonic() >= breaker.retry_at

    def trip(self, environment: ApnsEnvironment, topic: str, refusal: Answer) -> bool:
        """Opens one, or leaves what is open closed to others for longer; returns whether it had been closed."""
        known = self._open.get((environment, topic))
        self._open[environment, topic] = OpenBreaker(refusal, self._clock.monotonic() + PAUSE)
        return known is None

    def close(self, breaker: OpenBreaker) -> None:
        """A request has passed it."""
        self._open = {scope: each for scope, each in self._open.items() if each is not breaker}

    def disprove(self, environment: ApnsEnvironment, reason: str) -> None:
        """What was refused there for that reason goes through after all."""
        breaker = self._open.get((environment, EVERY_TOPIC))
        if breaker is not None and breaker.refusal.reason == reason:
            self.close(breaker)

    def all(self) -> list[OpenBreaker]:
        """All that are open."""
        return list(self._open.values())

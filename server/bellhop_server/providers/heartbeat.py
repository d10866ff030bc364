"""Whether a peer that says nothing is still there."""

import math
from collections.abc import Sized
from enum import Enum

from bellhop_server.providers.engine import Engine
from bellhop_server.providers.limits import Limits

_PING = b"bellhop!"


class Pulse(Enum):
    """What `Heartbeat.feel` finds."""

    ASKED = "asked"
    """A PING was queued."""
    DEAD = "dead"
    """The last one was not answered in time."""
    UNSURE = "unsure"
    """It was silent for long, and cannot be asked."""


class Heartbeat:
    """Asks a silent peer by PING. HTTP/1.1 has none, so there a wait for an answer is bounded by `Limits.answer` alone.

    Times are monotonic seconds; `heard` is when the last byte came.
    """

    def __init__(self, engine: Engine, in_flight: Sized, limits: Limits) -> None:
        self._engine = engine
        self._in_flight = in_flight
        self._limits = limits
        self._asked = -math.inf

    def due(self, heard: float) -> float:
        """When the silence has lasted long enough to `feel`, or the answer to a PING is late."""
        if self._asked >= heard:
            return self._asked + self._limits.ping_answer
        if self._in_flight:
            return heard + self._limits.ping_answer if self._engine.multiplexed else math.inf
        return heard + self._limits.ping_idle

    def feel(self, now: float, heard: float) -> Pulse:
        """To be called when it is `due`."""
        if self._asked >= heard:
            return Pulse.DEAD
        self._asked = now
        self._engine.ping(_PING)
        return Pulse.ASKED if self._engine.multiplexed else Pulse.UNSURE

"""Requests on their way on one connection, and what is known of where they are.

Bytes that the kernel took prove nothing: it may hold them for minutes. A request is with the peer's end when its answer
comes, or the acknowledgement of a PING that was written behind its last byte.
"""

import math
from collections.abc import Iterable

from bellhop_server.providers.backlog import Work
from bellhop_server.providers.engine import Engine
from bellhop_server.providers.limits import Limits
from bellhop_server.providers.reasons import Reason

Entry = tuple[float, Work, int]
"""When a request was submitted (monotonic seconds), and as what."""


class InFlight:
    """Streams without an answer: `unconfirmed` may not be with the peer's end, `confirmed` are; the oldest first."""

    def __init__(self, engine: Engine, limits: Limits) -> None:
        self.unconfirmed: dict[int, Entry] = {}
        self.confirmed: dict[int, Entry] = {}
        self.deadline = math.inf
        """Nothing is late before."""
        self._engine = engine
        self._confirm = limits.confirm
        self._answer = limits.answer
        self._looked = -math.inf
        self._pings = 0
        # What the acknowledgement that is waited for will confirm, and the last byte of it that was written.
        self._asked: list[int] = []
        self._asked_up_to = 0

    def __len__(self) -> int:
        return len(self.unconfirmed) + len(self.confirmed)

    def expect(self, now: float, deadline: float) -> None:
        """What is added to `unconfirmed` now is to be with the peer by then."""
        self.deadline = min(self.deadline, deadline, now + self._answer)

    def ask_at(self) -> float:
        """When to `ask` next."""
        if not self.unconfirmed:
            return math.inf
        submitted, _, _ = next(iter(self.unconfirmed.values()))
        return max(submitted, self._looked) + self._confirm

    def ask(self, now: float, written: int) -> bool:
        """Queues a PING, once it is time, behind what was submitted some time ago.

        `written`: bytes that the channel has been given. False: there is nothing to ask for, or a PING is out.
        """
        if now < self.ask_at():
            return False
        self._looked = now
        if self._asked:
            return False
        unsent = set(self._engine.unsent())
        sent = [stream for stream in self.unconfirmed if stream not in unsent]
        if not sent or self.unconfirmed[sent[0]][0] > now - self._confirm:
            return False
        self._asked, self._asked_up_to = sent, written
        self._pings += 1
        self._engine.ping(self._pings.to_bytes(8))
        return True

    def confirm(self, ping: bytes) -> list[Entry]:
        """A PING has come back; returns what it confirms."""
        if not self._asked or ping != self._pings.to_bytes(8):
            return []
        asked, self._asked = self._asked, []
        entries = []
        for stream in asked:
            entry = self.unconfirmed.pop(stream, None)
            if entry is not None:
                self.confirmed[stream] = entry
                entries.append(entry)
        return entries

    def late(self, now: float) -> tuple[dict[int, Reason], list[int]]:
        """Those whose time is over: the unconfirmed ones, and which time it is; the confirmed ones."""
        unconfirmed: dict[int, Reason] = {}
        confirmed: list[int] = []
        if now < self.deadline:
            return unconfirmed, confirmed
        self.deadline = math.inf
        for stream, (submitted, work, _) in self.unconfirmed.items():
            due = min(work.deadline, submitted + self._answer)
            if due > now:
                self.deadline = min(self.deadline, due)
            else:
                unconfirmed[stream] = Reason.HANDOVER_TIMEOUT if work.deadline <= now else Reason.ANSWER_TIMEOUT
        for stream, (submitted, _, _) in self.confirmed.items():
            if submitted + self._answer > now:
                self.deadline = min(self.deadline, submitted + self._answer)
            else:
                confirmed.append(stream)
        return unconfirmed, confirmed

    def may_arrive(self, streams: Iterable[int], written: int, arrived: int) -> bool:
        """Whether one of these has left whole, and some of it is still in this machine or lost on the way.

        Of the `written` bytes of the channel the peer's machine has so many.
        """
        sent = set(streams).difference(self._engine.unsent())
        return bool(sent) and arrived < (self._asked_up_to if sent.issubset(self._asked) else written)

    def due(self) -> float:
        """When it is time to `ask`, or something is late, at the earliest."""
        return min(self.ask_at(), self.deadline) if len(self) else math.inf

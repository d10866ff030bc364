"""Requests that wait for a place on a connection: batches of them, never an object each.

The adapter gives the pool a `Batch` and hears of each of its requests through `Batch.done`, exactly once.
"""

import asyncio
import bisect
import itertools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bellhop_server.providers.engine import REFUSED_STREAM, FailureKind, Headers, Reply
from bellhop_server.providers.reasons import Reason

if TYPE_CHECKING:
    from bellhop_server.providers.http2 import Connection

_MOST_TRIES = 10
_FIRST_PAUSE = 0.02


@dataclass(frozen=True, slots=True)
class Failure:
    """What `Batch.done` hears where no answer came."""

    kind: FailureKind
    reason: Reason
    code: int | None = None
    """The HTTP/2 error code behind it, if there was one."""
    detail: str = ""
    """For the log; holds nothing secret."""


class Batch(Protocol):
    """Requests 0 to `size` - 1 to one origin.

    Every index is reported to `done` exactly once, in any order, never before `Pool.send` has returned. The methods are
    plain calls on the event loop and must be quick.
    """

    @property
    def size(self) -> int:
        """How many requests there are."""

    @property
    def deadline(self) -> float:
        """Monotonic seconds: what the peer has not got by then it never will.

        A request that was not submitted shortly before is NOT_SENT. One that was submitted, and neither answered nor
        confirmed, is taken back and UNKNOWN, or NOT_SENT where HTTP/2 says so.
        It may be moved to an earlier time, for what is not submitted yet; then call `Pool.expire`.
        """

    @property
    def priority(self) -> int:
        """Higher goes first. Never changes."""

    @property
    def largest_body(self) -> int:
        """Bytes of the largest body; no request's body is larger."""

    @property
    def weight(self) -> int:
        """What making and submitting one takes, in units of `Turns`: 1, or more where much is computed for it."""

    def request(self, index: int) -> tuple[Headers, bytes]:
        """Header fields and body, asked for when they are about to be written; again for each further try."""

    def handed_over(self, index: int) -> None:
        """The peer's end has the whole request, and has not answered yet.

        At most once for each, before `done`; not where the answer comes first, and never by HTTP/1.1. The pool does not
        try it again.
        """

    def done(self, index: int, result: Reply | Failure, connection: "Connection | None") -> None:
        """The one end of a request. `connection` is the one that it was submitted to last, if any."""


class Work:
    """A batch in the backlog: which of its requests still wait.

    `deadline` is the batch's when it came, and stays that of what is in flight.
    """

    __slots__ = ("batch", "deadline", "fresh", "rank", "returned", "tries")

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.deadline = batch.deadline
        self.rank = -batch.priority
        self.fresh = 0
        self.returned: list[int] = []
        self.tries: dict[int, int] = {}

    def take(self, most: int) -> Sequence[int]:
        """Up to `most` waiting indices, those given back first."""
        if self.returned:
            taken = self.returned[:most]
            del self.returned[:most]
            return taken
        start = self.fresh
        self.fresh = min(start + most, self.batch.size)
        return range(start, self.fresh)

    def waiting(self) -> int:
        """How many requests wait."""
        return self.batch.size - self.fresh + len(self.returned)


_rank = operator.attrgetter("rank")


class Backlog:
    """Higher priority first, and first come, first served within one. `wake`: called when there is something to take.

    A batch half taken waits while there is one of a higher priority. This is strict, and the lanes bound only how much
    of a higher priority is in hand at a time: while more of it keeps coming than the connections can take, lower ones
    wait, up to their deadlines.
    """

    def __init__(self, clock: Callable[[], float], wake: Callable[[], None]) -> None:
        self._clock = clock
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._works: list[Work] = []
        self._paused: dict[object, tuple[asyncio.TimerHandle, Work, int]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._closed: Reason | None = None
        self.trouble: Reason | None = None
        """Why nothing gets through at present; told with what runs out of time."""

    def pending(self) -> bool:
        """Whether there is something to take."""
        while self._works and self._works[0].waiting() == 0:
            del self._works[0]
        return bool(self._works)

    def __len__(self) -> int:
        return sum(work.waiting() for work in self._works) + len(self._paused)

    def add(self, batch: Batch) -> None:
        """Takes a batch; an empty one is done."""
        if not batch.size:
            return
        work = Work(batch)
        bisect.insort_right(self._works, work, key=_rank)
        if self._closed:
            self._loop.call_soon(self.clear, self._closed)
        else:
            self._arm()
            self._wake()

    def head(self, until: float) -> Work | None:
        """The work to take from next; none whose deadline is `until` or before."""
        while self.pending():
            work = self._works[0]
            if work.batch.deadline > until:
                return work
            del self._works[0]
            self._expire(work)
        return None

    def back(self, work: Work, indices: Sequence[int]) -> None:
        """Puts back what was taken and not tried, at the front of its priority."""
        work.returned[:0] = indices
        self._put_back(work)

    def expire(self) -> None:
        """Ends what is late by now: for when a batch has moved its deadline."""
        if self._timer is not None:
            self._timer.cancel()
        self._sweep()

    def failed(self, work: Work, index: int, failure: Failure, connection: "Connection | None") -> None:
        """Ends a request, or has it tried again where that is safe and not too late.

        After a connection that went away it is tried at once: the pool takes care not to call the peer too often. A
        stream that is refused again waits, twice as long each time.
        """
        now = self._clock()
        tries = work.tries.get(index, 0) + 1
        again = failure.kind is FailureKind.NOT_SENT and tries < _MOST_TRIES and now < work.batch.deadline
        if self._closed or not again:
            self.done(work, index, failure, connection)
            return
        work.tries[index] = tries
        if failure.code != REFUSED_STREAM or tries == 1:
            self._return(work, index)
            return
        pause = min(_FIRST_PAUSE * 2 ** (tries - 2), work.batch.deadline - now)
        key = object()
        self._paused[key] = (self._loop.call_later(pause, self._unpause, key), work, index)

    def handed_over(self, work: Work, index: int) -> None:
        """Tells the batch, as `done` does."""
        try:
            work.batch.handed_over(index)
        except Exception as error:
            self._loop.call_exception_handler({"message": "a batch failed to hear of a hand-over", "exception": error})

    def done(self, work: Work, index: int, result: Reply | Failure, connection: "Connection | None") -> None:
        """Tells the batch. Its errors go to the event loop's exception handler, because the others must go on."""
        try:
            work.batch.done(index, result, connection)
        except Exception as error:
            self._loop.call_exception_handler({"message": "a batch failed to take a result", "exception": error})

    def close(self, reason: Reason) -> None:
        """Gives everything that waits, and whatever comes later, back as NOT_SENT."""
        self._closed = reason
        self.clear(reason)

    def clear(self, reason: Reason) -> None:
        """Gives everything that waits now back as NOT_SENT."""
        paused, works = list(self._paused.values()), self._works
        self._paused.clear()
        self._works = []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for handle, work, index in paused:
            handle.cancel()
            self.done(work, index, Failure(FailureKind.NOT_SENT, reason), None)
        for work in works:
            self._give_up(work, reason)

    def _return(self, work: Work, index: int) -> None:
        work.returned.append(index)
        self._put_back(work)
        self._arm()
        self._wake()

    def _put_back(self, work: Work) -> None:
        if work not in self._works:
            bisect.insort_left(self._works, work, key=_rank)

    def _unpause(self, key: object) -> None:
        _, work, index = self._paused.pop(key)
        self._return(work, index)

    def _arm(self) -> None:
        """Sets the timer to the earliest deadline."""
        deadline = min(work.batch.deadline for work in self._works)
        delay = max(deadline - self._clock(), 0)
        if self._timer is not None:
            if self._timer.when() <= self._loop.time() + delay:
                return
            self._timer.cancel()
        self._timer = self._loop.call_later(delay, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        now = self._clock()
        late = [work for work in self._works if work.batch.deadline <= now]
        self._works = [work for work in self._works if work.batch.deadline > now]
        for work in late:
            self._expire(work)
        if self._works:
            self._arm()

    def _expire(self, work: Work) -> None:
        self._give_up(work, self.trouble or Reason.NO_CAPACITY)

    def _give_up(self, work: Work, reason: Reason) -> None:
        failure = Failure(FailureKind.NOT_SENT, reason)
        returned, work.returned = work.returned, []
        fresh, work.fresh = work.fresh, work.batch.size
        for index in itertools.chain(returned, range(fresh, work.batch.size)):
            self.done(work, index, failure, None)

"""How waiting requests become streams of a connection."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bellhop_server.providers.backlog import Backlog, Failure, Work
from bellhop_server.providers.engine import Engine, FailureKind, HeadersRefused, InvalidRequest, Refused
from bellhop_server.providers.in_flight import InFlight
from bellhop_server.providers.reasons import Reason

if TYPE_CHECKING:
    from bellhop_server.providers.http2 import Connection

_MOST_BODIES = 256 * 1024


class Submission:
    """Takes from the backlog what the engine of a connection has room for, and notes it in `in_flight`."""

    def __init__(
        self,
        connection: "Connection",
        backlog: Backlog,
        engine: Engine,
        clock: Callable[[], float],
        in_flight: InFlight,
        margin: float,
    ) -> None:
        """`margin`: seconds before its deadline until which a request may be submitted."""
        self._connection = connection
        self._backlog = backlog
        self._engine = engine
        self._clock = clock
        self._in_flight = in_flight
        self._margin = margin
        self._loop = asyncio.get_running_loop()

    def fill(self, most: int) -> tuple[int, bool]:
        """Submits up to `most` units; returns how many, and whether it stopped for the others' sake alone."""
        now = self._clock()
        submitted = bodies = 0
        while submitted < most and bodies < _MOST_BODIES and self._connection.usable:
            work = self._backlog.head(now + self._margin)
            if work is None:
                return submitted, False
            largest, weight = work.batch.largest_body, work.batch.weight
            share = max((most - submitted) // weight, 1)
            room = min(self._engine.capacity(largest), share, _MOST_BODIES // max(largest, 1) + 1)
            if room <= 0:
                return submitted, False
            indices = work.take(room)
            taken = self._submit(work, indices, now)
            submitted += taken * weight
            bodies += taken * largest
            if taken < len(indices):
                return submitted, False
        return submitted, self._connection.usable

    def _submit(self, work: Work, indices: Sequence[int], now: float) -> int:
        """Submits these; returns how many have gone before the engine took no more."""
        request, submit, in_flight = work.batch.request, self._engine.submit, self._in_flight.unconfirmed
        self._in_flight.expect(now, work.deadline)
        for position, index in enumerate(indices):
            try:
                headers, body = request(index)
                in_flight[submit(headers, body)] = (now, work, index)
            except HeadersRefused:
                # Behind the others, which may be small enough for the next one.
                self._backlog.back(work, indices[position + 1 :])
                self._failed(work, index, Failure(FailureKind.NOT_SENT, Reason.HEADERS_REFUSED))
                self._connection.retire("", Reason.HEADERS_REFUSED)
                return position
            except Refused:
                self._backlog.back(work, indices[position:])
                return position
            except InvalidRequest as error:
                self._unsendable(work, index, str(error))
            except Exception as error:
                self._loop.call_exception_handler({"message": "a batch failed to make a request", "exception": error})
                self._unsendable(work, index, "it was not made")
        return len(indices)

    def _unsendable(self, work: Work, index: int, detail: str) -> None:
        self._failed(work, index, Failure(FailureKind.PERMANENT, Reason.INVALID_REQUEST, detail=detail))

    def _failed(self, work: Work, index: int, failure: Failure) -> None:
        self._backlog.failed(work, index, failure, self._connection)

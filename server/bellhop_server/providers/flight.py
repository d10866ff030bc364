"""Deliveries on their way: a request each, made in one plain call and answered in another."""

import asyncio
import logging
import math
from collections.abc import Callable, Sequence

from bellhop_server.domain.delivery import Answer, Verdict
from bellhop_server.providers.backlog import Failure
from bellhop_server.providers.engine import FailureKind, Headers, Reply
from bellhop_server.providers.errand import Errand, Ruling
from bellhop_server.providers.http2 import Connection
from bellhop_server.providers.reasons import Reason

_FAILURES = {
    FailureKind.NOT_SENT: Verdict.NOT_SENT,
    FailureKind.UNKNOWN: Verdict.UNKNOWN,
    FailureKind.PERMANENT: Verdict.ADAPTER_BUG,
}

_log = logging.getLogger(__name__)

Report = Callable[[int, Answer], None]
HandedOver = Callable[[int], None]


def _ignore(*_: object) -> None:
    """Nobody listens any more."""


class Flight:
    """A `Batch` of the pool: the deliveries `numbers` of an errand's chunk, reported under these numbers.

    `ended` is done when all are reported.
    """

    def __init__(
        self,
        errand: Errand,
        numbers: Sequence[int],
        clock: Callable[[], float],
        report: Report,
        handed_over: HandedOver,
    ) -> None:
        """`clock`: monotonic seconds."""
        self.errand = errand
        self.size = len(numbers)
        self.deadline = errand.chunk.deadline
        self.priority = errand.chunk.priority
        self.largest_body = errand.largest_body
        self.weight = errand.weight
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._make = errand.request
        self._accepted = errand.accepted
        self._line = errand.line
        self._outage = errand.line.outage
        self._numbers = numbers
        self._clock = clock
        self._report = report
        self._tell_handed_over = handed_over
        self._handed_over: set[int] = set()
        self._left = self.size
        self._again: list[int] = []
        self._instead: Answer | None = None
        self._logged: set[str] = set()

    def take_off(self) -> None:
        """Hands the requests to the pool."""
        self._line.flights.add(self)
        self._line.pool.send(self)

    def withdraw(self, answer: Answer) -> None:
        """Has what is not sent yet never be sent, and answered with this. The pool is to be told by `Pool.expire`."""
        self._instead = answer
        self.deadline = -math.inf

    def abandon(self) -> None:
        """Nobody waits for it any more."""
        self._report = self._tell_handed_over = _ignore
        self.withdraw(Answer(Verdict.NOT_SENT, reason=Reason.ABANDONED.value))
        self._line.pool.expire()

    def request(self, index: int) -> tuple[Headers, bytes]:
        return self._make(self._numbers[index])

    def handed_over(self, index: int) -> None:
        self._handed_over.add(index)
        self._tell_handed_over(self._numbers[index])

    def done(self, index: int, result: Reply | Failure, connection: Connection | None) -> None:
        if type(result) is Reply and result.status // 100 == 2 and connection is not None:
            number = self._numbers[index]
            self._finish(number, self._accepted(number, result, connection))
        else:
            self.consider(index, result, connection, again=False)

    def consider(self, index: int, result: Reply | Failure, connection: Connection | None, *, again: bool) -> None:
        """Reports what is not a plain success, or tries once more unless this was `again`."""
        number = self._numbers[index]
        if type(result) is not Reply or connection is None:
            self._finish(number, self._failed(result))
        else:
            last = again or self._instead is not None
            self._refused(index, self.errand.refused(number, result, connection, last=last))

    def _refused(self, index: int, ruling: Ruling) -> None:
        answer = ruling.answer
        if ruling.again:
            if index not in self._handed_over:
                self._try_again(index, ruling.after)
                return
            # Only whoever was told of the hand-over may decide on another.
            answer = answer._replace(verdict=Verdict.NOT_SENT)
        elif ruling.stop is not None:
            self._stop(ruling)
        if answer.verdict is Verdict.ADAPTER_BUG or not ruling.known:
            self._log_once("a provider gave an answer that it should not have to give", answer)
        self._finish(self._numbers[index], answer)

    def _failed(self, result: Reply | Failure) -> Answer:
        assert isinstance(result, Failure), "a reply comes by a connection"
        if result.kind is FailureKind.NOT_SENT and self._instead is not None:
            return self._instead
        if result.reason is Reason.ADDRESS_BLOCKED:
            return Answer(Verdict.ENDPOINT_BLOCKED, reason=result.reason.value)
        answer = Answer(_FAILURES[result.kind], reason=result.reason.value)
        if result.kind is FailureKind.PERMANENT:
            self._log_once("a request could not be made", answer, result.detail)
        return answer

    def _try_again(self, index: int, after: "asyncio.Future[None] | None") -> None:
        if not self._again:
            # A connection that refuses one mostly refuses others in the same breath.
            if after is None:
                self._loop.call_soon(self._send_again)
            else:
                after.add_done_callback(lambda _: self._send_again())
        self._again.append(index)

    def _send_again(self) -> None:
        indices, self._again = self._again, []
        self._line.pool.send(_Again(self, indices))

    def _stop(self, ruling: Ruling) -> None:
        """Opens the breaker, and gives back everything that waits for what it covers."""
        account, scope, answer = self.errand.account, ruling.stop, ruling.answer
        assert scope is not None
        refusal = ruling.refusal or Answer(answer.verdict, reason=answer.reason)
        if account.breakers.trip(scope, refusal, ruling.pause):
            self._log_once("a provider refuses what a credential sends; it is left alone for a while", answer)
        breaker = account.breakers.find(scope)
        assert breaker is not None
        self._withdraw_all(breaker.answer(self._clock()), lambda flight: _concerns(flight.errand, self.errand, scope))

    def _withdraw_all(self, answer: Answer, which: Callable[["Flight"], bool]) -> None:
        for flight in self._line.flights:
            if which(flight):
                flight.withdraw(answer)
        self._line.pool.expire()

    def _finish(self, number: int, answer: Answer) -> None:
        self._left -= 1
        if not self._left:
            self._line.flights.discard(self)
            if not self.ended.done():
                self.ended.set_result(None)
        outage = self._outage
        if (outage.failures or answer.verdict is not Verdict.ACCEPTED) and outage.note(answer):
            self._log_once("a provider fails more often than not; it is left alone for a while", answer)
            assert outage.breaker is not None
            self._withdraw_all(outage.breaker.answer(self._clock()), lambda _: True)
        self._report(number, answer)

    def _log_once(self, text: str, answer: Answer, detail: str = "") -> None:
        if answer.reason not in self._logged:
            self._logged.add(answer.reason)
            chunk = self.errand.chunk
            extra = {"app_id": chunk.app_id, "credential_id": chunk.credential_id, "scope": "/".join(self.errand.scope)}
            _log.warning(text, extra={**extra, "status": answer.status, "reason": answer.reason, "detail": detail})


def _concerns(other: Errand, mine: Errand, scope: tuple[str, ...]) -> bool:
    return other.account is mine.account and other.scope[: len(scope)] == scope


class _Again:
    """The second and last try of some requests of a flight."""

    def __init__(self, flight: Flight, indices: Sequence[int]) -> None:
        self.size = len(indices)
        self.priority = flight.priority
        self.largest_body = flight.largest_body
        self.weight = flight.weight
        self._flight = flight
        self._indices = indices

    @property
    def deadline(self) -> float:
        """As the flight's, which may have been withdrawn."""
        return self._flight.deadline

    def request(self, index: int) -> tuple[Headers, bytes]:
        return self._flight.request(self._indices[index])

    def handed_over(self, index: int) -> None:
        self._flight.handed_over(self._indices[index])

    def done(self, index: int, result: Reply | Failure, connection: Connection | None) -> None:
        original = self._indices[index]
        if isinstance(result, Reply) and result.status // 100 == 2:
            self._flight.done(original, result, connection)
        else:
            self._flight.consider(original, result, connection, again=True)

"""Deliveries on their way: a request each, made in one plain call and answered in another."""

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bellhop_server.domain import Micros
from bellhop_server.domain.delivery import Answer, Chunk, Verdict
from bellhop_server.domain.device import ApnsEnvironment
from bellhop_server.ports import Clock
from bellhop_server.providers.apns.account import Account
from bellhop_server.providers.apns.breaker import EVERY_TOPIC
from bellhop_server.providers.apns.line import Line
from bellhop_server.providers.apns.outcomes import Remedy, judge
from bellhop_server.providers.apns.payload import Rendered, expiration
from bellhop_server.providers.backlog import Failure
from bellhop_server.providers.engine import FailureKind, Headers, Reply
from bellhop_server.providers.http2 import Connection
from bellhop_server.providers.reasons import Reason

_FAILURES = {
    FailureKind.NOT_SENT: Verdict.NOT_SENT,
    FailureKind.UNKNOWN: Verdict.UNKNOWN,
    FailureKind.PERMANENT: Verdict.ADAPTER_BUG,
}
# Whatever else goes the same way would be answered the same.
_STOPPING = frozenset({Verdict.CREDENTIALS_INVALID, Verdict.CONFIG_ERROR})

_log = logging.getLogger(__name__)

Report = Callable[[int, Answer], None]
HandedOver = Callable[[int], None]


def _ignore(*_: object) -> None:
    """Nobody listens any more."""


@dataclass(frozen=True, slots=True)
class Leg:
    """Where a chunk goes, for which account."""

    chunk: Chunk
    rendered: Rendered
    account: Account
    environment: ApnsEnvironment
    topic: str


class Flight:
    """A `Batch` of the pool: the deliveries `numbers` of a leg's chunk, reported under these numbers.

    `ended` is done when all are reported.
    """

    def __init__(
        self, leg: Leg, line: Line, numbers: Sequence[int], clock: Clock, report: Report, handed_over: HandedOver
    ) -> None:
        self.leg = leg
        self.size = len(numbers)
        self.deadline = leg.chunk.deadline
        self.priority = leg.chunk.priority
        self.largest_body = len(leg.rendered.body)
        self._loop = asyncio.get_running_loop()
        self.ended = self._loop.create_future()
        self._line = line
        self._deliveries = leg.chunk.deliveries
        self._numbers = numbers
        self._body = leg.rendered.body
        self._fields = ((b"apns-topic", leg.topic.encode()), *leg.rendered.fields)
        self._clock = clock
        self._report = report
        self._tell_handed_over = handed_over
        self._handed_over: set[int] = set()
        self._expire_time: Micros | None = None
        self._expiration: tuple[tuple[bytes, bytes], ...] = ()
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
        address, _, provider_message_id, expire_time = self._deliveries[self._numbers[index]]
        if expire_time != self._expire_time:
            # Neighbours mostly have the same.
            self._expire_time = expire_time
            self._expiration = (expiration(expire_time),) if self.leg.rendered.kept else ()
        line = self._line
        return [
            *line.head,
            (b":path", b"/3/device/" + address.encode()),
            line.authorization,
            *self._fields,
            *self._expiration,
            (b"apns-id", provider_message_id.encode()),
        ], self._body

    def handed_over(self, index: int) -> None:
        self._handed_over.add(index)
        self._tell_handed_over(self._numbers[index])

    def done(self, index: int, result: Reply | Failure, connection: Connection | None) -> None:
        if type(result) is Reply and result.status == 200:
            line = self._line
            if line.doubted or line.updates_refused:
                line.accepted(connection, self.leg.environment)
            number = self._numbers[index]
            self._finish(number, Answer(Verdict.ACCEPTED, 200, "", self._deliveries[number].provider_message_id))
        else:
            self.consider(index, result, connection, again=False)

    def consider(self, index: int, result: Reply | Failure, connection: Connection | None, *, again: bool) -> None:
        """Reports what is not a plain success, or tries once more unless this was `again`."""
        number = self._numbers[index]
        if isinstance(result, Failure) or connection is None:
            self._finish(number, self._failed(result))
            return
        outcome = judge(result, self._deliveries[number].provider_message_id, self._clock.now())
        answer, line = outcome.answer, self._line
        stop = answer.verdict in _STOPPING
        match outcome.remedy:
            case Remedy.REPLACE:
                connection.retire(answer.reason)
            case Remedy.RENEW | Remedy.RECONNECT as remedy:
                for_good = line.refused(connection)
                if remedy is Remedy.RENEW:
                    line.expired()
                if not (again or for_good or self._instead):
                    if index not in self._handed_over:
                        self._try_again(index)
                        return
                    # Only whoever was told of the hand-over may decide on another.
                    answer = answer._replace(verdict=Verdict.NOT_SENT)
                stop = answer.verdict is not Verdict.NOT_SENT
            case Remedy.FALL_BACK:
                stop = not line.too_many()
            case Remedy.NONE if not stop:
                line.trust(connection)
        if stop:
            self._stop(answer)
        elif answer.verdict is Verdict.ADAPTER_BUG or not outcome.known:
            self._log_once("APNs gave an answer that it should not have to give", answer)
        self._finish(number, answer)

    def _failed(self, result: Reply | Failure) -> Answer:
        assert isinstance(result, Failure), "a reply comes by a connection"
        if result.kind is FailureKind.NOT_SENT and self._instead is not None:
            return self._instead
        answer = Answer(_FAILURES[result.kind], reason=result.reason.value)
        if result.kind is FailureKind.PERMANENT:
            self._log_once("a request could not be made", answer, result.detail)
        return answer

    def _try_again(self, index: int) -> None:
        if not self._again:
            # A connection that refuses one mostly refuses others in the same breath.
            self._loop.call_soon(self._send_again)
        self._again.append(index)

    def _send_again(self) -> None:
        indices, self._again = self._again, []
        self._line.pool.send(_Again(self, indices))

    def _stop(self, answer: Answer) -> None:
        """Opens the breaker, and gives back everything that waits for what it covers."""
        leg = self.leg
        scope = leg.topic if answer.verdict is Verdict.CONFIG_ERROR else EVERY_TOPIC
        refusal = Answer(answer.verdict, reason=answer.reason)
        if leg.account.breakers.trip(leg.environment, scope, refusal):
            self._log_once("APNs refused a credential; it is left alone for a while", answer)
        for flight in self._line.flights:
            if flight.leg.account is leg.account and scope in (EVERY_TOPIC, flight.leg.topic):
                flight.withdraw(refusal)
        self._line.pool.expire()

    def _finish(self, number: int, answer: Answer) -> None:
        self._left -= 1
        if not self._left:
            self._line.flights.discard(self)
            if not self.ended.done():
                self.ended.set_result(None)
        self._report(number, answer)

    def _log_once(self, text: str, answer: Answer, detail: str = "") -> None:
        if answer.reason not in self._logged:
            self._logged.add(answer.reason)
            chunk = self.leg.chunk
            where = {"app_id": chunk.app_id, "credential_id": chunk.credential_id, "topic": self.leg.topic}
            _log.warning(text, extra={**where, "status": answer.status, "reason": answer.reason, "detail": detail})


class _Again:
    """The second and last try of some requests of a flight."""

    def __init__(self, flight: Flight, indices: Sequence[int]) -> None:
        self.size = len(indices)
        self.priority = flight.priority
        self.largest_body = flight.largest_body
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
        if isinstance(result, Reply) and result.status == 200:
            self._flight.done(original, result, connection)
        else:
            self._flight.consider(original, result, connection, again=True)

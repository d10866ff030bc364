"""A chunk on its way to APNs: what is asked for each delivery, and what to do about what Apple answers."""

from bellhop_server.domain import Micros
from bellhop_server.domain.delivery import Answer, Chunk, Verdict
from bellhop_server.domain.device import ApnsEnvironment
from bellhop_server.ports import Clock
from bellhop_server.providers.account import Account
from bellhop_server.providers.apns.line import ApnsLine
from bellhop_server.providers.apns.outcomes import Remedy, judge
from bellhop_server.providers.apns.payload import Rendered, expiration
from bellhop_server.providers.engine import Headers, Reply
from bellhop_server.providers.errand import Ruling
from bellhop_server.providers.http2 import Connection

# Whatever else goes the same way would be answered the same.
_STOPPING = frozenset({Verdict.CREDENTIALS_INVALID, Verdict.CONFIG_ERROR})


class ApnsErrand:
    """An `Errand`. A refused key concerns an environment, a refused topic that topic in it alone."""

    weight = 1

    def __init__(
        self,
        chunk: Chunk,
        rendered: Rendered,
        account: Account[ApnsLine],
        line: ApnsLine,
        environment: ApnsEnvironment,
        clock: Clock,
    ) -> None:
        topic = rendered.topic(chunk.apns_topic)
        self.chunk = chunk
        self.account = account
        self.line = line
        self.scope = (environment.name, topic)
        self.largest_body = len(rendered.stamped(chunk.deliveries[0].stamp))
        self._deliveries = chunk.deliveries
        self._body = rendered.body
        self._stamped = rendered.stamped
        self._kept = rendered.kept
        self._fields = ((b"apns-topic", topic.encode()), *rendered.fields)
        self._clock = clock
        self._expire_time: Micros | None = None
        self._expiration: tuple[tuple[bytes, bytes], ...] = ()

    def request(self, number: int) -> tuple[Headers, bytes]:
        """See `Errand`."""
        address, _, provider_message_id, expire_time, stamp = self._deliveries[number]
        if expire_time != self._expire_time:
            # Neighbours mostly have the same.
            self._expire_time = expire_time
            self._expiration = (expiration(expire_time),) if self._kept else ()
        line = self.line
        return [
            *line.head,
            (b":path", b"/3/device/" + address.encode()),
            line.authorization,
            *self._fields,
            *self._expiration,
            (b"apns-id", provider_message_id.encode()),
        ], self._stamped(stamp) if stamp else self._body

    def accepted(self, number: int, reply: Reply, connection: Connection) -> Answer:
        """See `Errand`."""
        line = self.line
        if line.doubted or line.updates_refused:
            line.accepted(connection)
        return Answer(Verdict.ACCEPTED, reply.status, "", self._deliveries[number].provider_message_id)

    def refused(self, number: int, reply: Reply, connection: Connection, *, last: bool) -> Ruling:
        """See `Errand`."""
        outcome = judge(reply, self._deliveries[number].provider_message_id, self._clock.now())
        answer, line = outcome.answer, self.line
        stop = answer.verdict in _STOPPING
        match outcome.remedy:
            case Remedy.REPLACE:
                connection.retire(answer.reason)
            case Remedy.RENEW | Remedy.RECONNECT as remedy:
                for_good = line.refused(connection)
                if remedy is Remedy.RENEW:
                    line.expired()
                if not (last or for_good):
                    return Ruling(answer, again=True)
                stop = True
            case Remedy.FALL_BACK:
                stop = not line.too_many()
            case Remedy.NONE if not stop:
                line.trust(connection)
        if not stop:
            return Ruling(answer, known=outcome.known)
        scope = self.scope if answer.verdict is Verdict.CONFIG_ERROR else self.scope[:1]
        return Ruling(answer, stop=scope, known=outcome.known)

"""Subscriptions at one push service, on their way: each push encrypted for its browser as it is about to be written."""

from bellhop_server.domain.delivery import Answer, Chunk, Verdict
from bellhop_server.ports import Clock
from bellhop_server.providers.account import Account
from bellhop_server.providers.engine import Headers, Reply
from bellhop_server.providers.errand import Ruling
from bellhop_server.providers.http2 import Connection
from bellhop_server.providers.webpush.encryption import OVERHEAD, encrypt, recipient
from bellhop_server.providers.webpush.line import WebPushLine
from bellhop_server.providers.webpush.outcomes import Remedy, accepted, refused
from bellhop_server.providers.webpush.payload import Rendered

# Seconds for a push service that throttles and does not say for how long.
PAUSE = 60.0


class WebPushErrand:
    """An `Errand`. What concerns more than one subscription concerns the host."""

    # An encryption takes about as long as seven submissions and answers.
    weight = 8

    def __init__(
        self,
        chunk: Chunk,
        rendered: Rendered,
        account: Account[WebPushLine],
        line: WebPushLine,
        paths: dict[int, bytes],
        authorization: bytes,
        clock: Clock,
    ) -> None:
        """`paths`: those of the endpoints, by number."""
        self.chunk = chunk
        self.account = account
        self.line = line
        self.scope = (line.host,)
        self.largest_body = len(rendered.stamped(chunk.deliveries[0].stamp)) + OVERHEAD
        self._rendered = rendered
        self._paths = paths
        self._authorization = (b"authorization", authorization)
        self._key = (account, chunk.vapid_public_key)
        self._clock = clock

    def request(self, number: int) -> tuple[Headers, bytes]:
        """See `Errand`."""
        _, supplement, _, expire_time, stamp = self.chunk.deliveries[number]
        p256dh, _, auth = supplement.partition(".")
        rendered, line = self._rendered, self.line
        headers = [
            *line.head,
            (b":path", self._paths[number]),
            self._authorization,
            *rendered.fields,
            *rendered.lasting(expire_time, self._clock.now(), line.host),
        ]
        return headers, encrypt(rendered.stamped(stamp), recipient(p256dh, auth))

    def accepted(self, number: int, reply: Reply, connection: Connection) -> Answer:
        """See `Errand`."""
        self.line.key_taken(self._key)
        return accepted(reply)

    def refused(self, number: int, reply: Reply, connection: Connection, *, last: bool) -> Ruling:
        """See `Errand`."""
        answer, meaning = refused(reply, self._clock.now())
        if meaning.remedy is Remedy.REPLACE:
            connection.retire(answer.reason)
        match answer.verdict:
            case Verdict.TOKEN_DOUBTED:
                return self._doubt(answer)
            case Verdict.CREDENTIALS_INVALID:
                return Ruling(answer, stop=self.scope, known=meaning.known)
            case Verdict.THROTTLED_SENDER:
                pause = PAUSE if answer.retry_after is None else answer.retry_after
                refusal = Answer(Verdict.NOT_SENT, answer.status, answer.reason)
                return Ruling(answer, stop=self.scope, pause=pause, refusal=refusal, known=meaning.known)
            case _:
                return Ruling(answer, known=meaning.known)

    def _doubt(self, answer: Answer) -> Ruling:
        """The key, or the subscription."""
        if self.line.key_is_good(self._key):
            return Ruling(answer)
        stop = self.scope if self.line.key_refused(self._key) else None
        return Ruling(answer._replace(verdict=Verdict.CREDENTIALS_INVALID), stop=stop)

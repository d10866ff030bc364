"""A chunk on its way to FCM: what is asked for each delivery, and what to do about what Google answers."""

import json

from bellhop_server.domain.delivery import Answer, Chunk, Verdict
from bellhop_server.ports import Clock
from bellhop_server.providers.account import Account
from bellhop_server.providers.engine import Headers, Reply
from bellhop_server.providers.errand import Ruling
from bellhop_server.providers.fcm.access import Access
from bellhop_server.providers.fcm.line import FcmLine
from bellhop_server.providers.fcm.outcomes import Reach, Remedy, accepted, judge
from bellhop_server.providers.fcm.payload import Rendered
from bellhop_server.providers.http2 import Connection


class FcmErrand:
    """An `Errand`. Whatever is refused for more than one message is refused for the whole project."""

    weight = 1

    def __init__(
        self,
        chunk: Chunk,
        rendered: Rendered,
        account: Account[FcmLine],
        line: FcmLine,
        access: Access,
        scope: tuple[str, ...],
        clock: Clock,
    ) -> None:
        self.chunk = chunk
        self.account = account
        self.line = line
        self.scope = scope
        self._rendered = rendered
        self.access = access
        self._clock = clock
        self._deliveries = chunk.deliveries
        self._addresses = [json.dumps(delivery.address).encode() for delivery in chunk.deliveries]
        self._shown: dict[int, tuple[bytes, bytes]] = {}
        self._renewed: set[int] = set()
        self.largest_body = rendered.frame + max(map(len, self._addresses))

    def request(self, number: int) -> tuple[Headers, bytes]:
        """See `Errand`."""
        delivery = self._deliveries[number]
        authorization = self._shown[number] = self.access.authorization
        body = self._rendered.body(
            self._addresses[number], delivery.supplement, delivery.expire_time, self._clock.now(), delivery.stamp
        )
        return [*self.line.head, authorization], body

    def accepted(self, number: int, reply: Reply, connection: Connection) -> Answer:
        """See `Errand`."""
        return accepted(reply)

    def refused(self, number: int, reply: Reply, connection: Connection, *, last: bool) -> Ruling:
        """See `Errand`."""
        body_size = self._rendered.frame + len(self._addresses[number])
        outcome = judge(reply, body_size, self._clock.now())
        answer = outcome.answer
        if outcome.remedy is Remedy.RENEW:
            return self._renew(number, answer, last=last)
        if outcome.reach is Reach.MESSAGE:
            return Ruling(answer, known=outcome.known)
        if answer.verdict is Verdict.THROTTLED_SENDER:
            return self._pause(answer, known=outcome.known)
        return Ruling(answer, stop=self.scope, known=outcome.known)

    def _renew(self, number: int, answer: Answer, *, last: bool) -> Ruling:
        """The access token was refused: another one, and once more. The second of two refused ones is no accident."""
        access = self.access
        if number in self._renewed and access.good:
            return Ruling(answer, stop=self.scope)
        renewal = access.refused(self._shown[number])
        if renewal is None and not access.good:
            # Nor is there another one.
            trouble = access.trouble or answer
            return Ruling(trouble, stop=self.scope if trouble.verdict is Verdict.CREDENTIALS_INVALID else None)
        if last or number in self._renewed:
            return Ruling(answer._replace(verdict=Verdict.NOT_SENT))
        self._renewed.add(number)
        return Ruling(answer, again=True, after=renewal)

    def _pause(self, answer: Answer, *, known: bool) -> Ruling:
        """Google asks the project to wait: nothing else goes before, of whatever application."""
        pause = answer.retry_after or 0.0
        self.line.bucket.pause(pause)
        refusal = Answer(Verdict.NOT_SENT, answer.status, answer.reason)
        return Ruling(answer, stop=self.scope, pause=pause, refusal=refusal, known=known)

"""Asking APNs whether it takes a credential, without reaching any device."""

import asyncio
from collections.abc import Mapping

from bellhop_server.domain import Micros
from bellhop_server.domain.application import ProbeResult
from bellhop_server.domain.delivery import Answer, Verdict
from bellhop_server.domain.device import ApnsEnvironment
from bellhop_server.domain.notification import Priority
from bellhop_server.providers.apns.outcomes import ENVIRONMENT_REASONS, judge
from bellhop_server.providers.backlog import Failure
from bellhop_server.providers.engine import Headers, Reply
from bellhop_server.providers.limits import Limits

SECONDS = 5.0
LIMITS = Limits(connections=1, setup=SECONDS, answer=SECONDS)

# A token of the right form that no device has; APNs looks at who asks before it looks at whom.
_NO_DEVICE = b"0" * 64
_BODY = b'{"aps":{}}'
_FIELDS = ((b"apns-push-type", b"background"), (b"apns-priority", b"5"), (b"apns-expiration", b"0"))

_ACCEPTED = frozenset(
    {Verdict.ACCEPTED, Verdict.TOKEN_INVALID, Verdict.TOKEN_GONE_SINCE, Verdict.TOKEN_MISMATCH, Verdict.PAYLOAD_INVALID}
)
_REFUSED = frozenset({Verdict.CREDENTIALS_INVALID, Verdict.CONFIG_ERROR})


class Question:
    """A `Batch` of one push to nobody."""

    size = 1
    priority = Priority.HIGH
    largest_body = len(_BODY)
    weight = 1

    def __init__(self, authority: str, token: str, topic: str, deadline: float) -> None:
        self.deadline = deadline
        self._fields = [
            (b":method", b"POST"),
            (b":scheme", b"https"),
            (b":authority", authority.encode()),
            (b":path", b"/3/device/" + _NO_DEVICE),
            (b"authorization", b"bearer " + token.encode()),
            (b"apns-topic", topic.encode()),
            *_FIELDS,
        ]
        self._answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def request(self, index: int) -> tuple[Headers, bytes]:
        return self._fields, _BODY

    def handed_over(self, index: int) -> None:
        """It is to nobody."""

    def done(self, index: int, result: Reply | Failure, connection: object) -> None:
        if not self._answer.done():
            if isinstance(result, Failure):
                self._answer.set_result(Answer(Verdict.NOT_SENT, reason=result.reason.value))
            else:
                self._answer.set_result(judge(result, "", 0).answer)

    async def answer(self) -> Answer:
        """What APNs said; NOT_SENT: it could not be asked."""
        return await self._answer


def conclude(answers: Mapping[ApnsEnvironment, Answer], *, chosen: bool, now: Micros) -> ProbeResult:
    """What the answers from the environments of a credential come to. `chosen`: its owner has named them.

    A key without named environments need not be good in both.
    """
    accepted = {where for where, answer in answers.items() if answer.verdict in _ACCEPTED}
    refused = {where: answer for where, answer in answers.items() if answer.verdict in _REFUSED}
    bearable = bool(accepted) and not chosen
    fatal = [a for a in refused.values() if not (bearable and a.reason in ENVIRONMENT_REASONS)]
    if fatal:
        return ProbeResult(False, fatal[0].reason, now)
    rest = [f"{where.name.lower()}: {answer.reason}" for where, answer in answers.items() if where not in accepted]
    reason = "; ".join(rest)[:256]
    return ProbeResult(bool(accepted), reason, now, reached=bool(accepted))

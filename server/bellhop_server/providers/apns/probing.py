"""Asking APNs whether it takes a credential, without reaching any device."""

from collections.abc import Mapping

from bellhop_server.domain import Micros
from bellhop_server.domain.application import ProbeResult
from bellhop_server.domain.delivery import Answer, Verdict
from bellhop_server.domain.device import ApnsEnvironment
from bellhop_server.providers.apns.outcomes import ENVIRONMENT_REASONS, judge
from bellhop_server.providers.backlog import Failure
from bellhop_server.providers.limits import Limits
from bellhop_server.providers.pool import Pool
from bellhop_server.providers.question import ask

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


async def question(pool: Pool, authority: str, token: str, topic: str, deadline: float) -> Answer:
    """What APNs says to a push to nobody, by a pool that is made for this alone; NOT_SENT: it could not be asked."""
    headers = [
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":authority", authority.encode()),
        (b":path", b"/3/device/" + _NO_DEVICE),
        (b"authorization", b"bearer " + token.encode()),
        (b"apns-topic", topic.encode()),
        *_FIELDS,
    ]
    said = await ask(pool, headers, _BODY, deadline)
    if isinstance(said, Failure):
        return Answer(Verdict.NOT_SENT, reason=said.reason.value)
    return judge(said, "", 0).answer


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

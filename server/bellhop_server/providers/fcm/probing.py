"""Asking Google whether it takes a credential, without reaching any device."""

import json

from bellhop_server.domain import Micros
from bellhop_server.domain.application import ProbeResult
from bellhop_server.domain.delivery import Answer, Verdict
from bellhop_server.providers.backlog import Failure
from bellhop_server.providers.engine import Reply
from bellhop_server.providers.fcm.outcomes import Reach, judge
from bellhop_server.providers.limits import Limits

SECONDS = 5.0
LIMITS = Limits(connections=1, setup=SECONDS, answer=SECONDS)

# A token that no device has, for a message that is only looked at: FCM asks first who may send.
BODY = json.dumps({"validate_only": True, "message": {"token": "bellhop-asks-whether-it-may-send"}}).encode()

_UNSAID = frozenset({Verdict.PROVIDER_UNAVAILABLE, Verdict.THROTTLED_SENDER, Verdict.ADAPTER_BUG})


def conclude(said: Reply | Failure | Answer, now: Micros) -> ProbeResult:
    """What Google's answer comes to: to the message, or an `Answer` where there was no access token to send it with."""
    if isinstance(said, Failure):
        return ProbeResult(False, said.reason.value, now, reached=False)
    if isinstance(said, Answer):
        return ProbeResult(False, said.reason, now, reached=said.verdict is not Verdict.NOT_SENT)
    if said.status // 100 == 2:
        return ProbeResult(True, "", now)
    outcome = judge(said, len(BODY), now)
    if outcome.answer.verdict in _UNSAID:
        return ProbeResult(False, outcome.answer.reason, now, reached=False)
    if outcome.reach is Reach.MESSAGE and outcome.known:
        # Whatever is wrong with this message, its sender was let in.
        return ProbeResult(True, "", now)
    return ProbeResult(False, outcome.answer.reason, now)

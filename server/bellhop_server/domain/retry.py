"""What a provider's answer means for one device: final, or again after a while.

Delays follow what the providers ask for: APNs and FCM answer 5xx and throttling with "later, and ever later"; a request
that surely was not taken may go again at once.
"""

import math
from dataclasses import dataclass

from bellhop_server.domain import SECOND, Micros
from bellhop_server.domain.batch import Item
from bellhop_server.domain.delivery import Answer, Verdict
from bellhop_server.domain.device import Platform
from bellhop_server.domain.message import Outcome
from bellhop_server.domain.terms import Terms

# Seconds before the end of its time at which a message is tried once more.
LAST_TRY = 1.0

MAX_NOT_SENT = 10
MAX_ATTEMPTS = 100
MAX_FCM_ATTEMPTS = 11

_FINAL = {
    Verdict.TOKEN_INVALID: Outcome.TOKEN_INVALID,
    Verdict.TOKEN_GONE_SINCE: Outcome.TOKEN_INVALID,
    Verdict.TOKEN_MISMATCH: Outcome.TOKEN_MISMATCH,
    Verdict.TOKEN_DOUBTED: Outcome.TOKEN_MISMATCH,
    Verdict.PAYLOAD_INVALID: Outcome.PAYLOAD_INVALID,
    Verdict.PAYLOAD_TOO_LARGE: Outcome.PAYLOAD_TOO_LARGE,
    Verdict.CREDENTIALS_INVALID: Outcome.CREDENTIALS_INVALID,
    Verdict.CONFIG_ERROR: Outcome.CONFIG_ERROR,
    Verdict.NOT_CONFIGURED: Outcome.NOT_CONFIGURED,
    Verdict.ENDPOINT_BLOCKED: Outcome.ENDPOINT_BLOCKED,
    Verdict.ADAPTER_BUG: Outcome.INTERNAL,
}


@dataclass(frozen=True, slots=True)
class Schedule:
    """Delays in seconds: the first, how it grows, where it stops growing."""

    first: float
    factor: float
    cap: float

    def delay(self, tries: int) -> float:
        """Seconds to wait after the `tries`-th failure, counted from 1."""
        return float(min(self.cap, self.first * self.factor ** min(tries - 1, 32)))


NOT_SENT = Schedule(0.1, 2, 5)
PROVIDER_UNAVAILABLE = Schedule(10, 4, 900)
# Google: not before 10 seconds, doubling; and no longer than an hour, which this takes eleven attempts for.
FCM_UNAVAILABLE = Schedule(10, 2, 600)
THROTTLED_TARGET = Schedule(60, 2, 1800)
THROTTLED_SENDER = Schedule(60, 2, 3600)


def decide(item: Item, answer: Answer, terms: Terms, now: Micros) -> Outcome | float:
    """The final outcome, or the seconds after which the item is tried again. Counts the answer into `item`."""
    verdict = answer.verdict
    if verdict is Verdict.ACCEPTED:
        item.attempts += 1
        return Outcome.ACCEPTED
    if verdict is Verdict.NOT_SENT:
        item.unsent += 1
    else:
        item.attempts += 1
    final = _FINAL.get(verdict)
    if final is not None:
        return final
    item.obstacle, item.obstacle_status = answer.reason, answer.status
    if verdict is Verdict.UNKNOWN:
        item.doubts += 1
        if not terms.may_resend(item.doubts):
            return Outcome.UNKNOWN
    elif verdict is not Verdict.NOT_SENT and terms.now_or_never:
        return _unless_in_doubt(item, Outcome.EXPIRED)
    if item.attempts >= (MAX_FCM_ATTEMPTS if item.platform == Platform.FCM else MAX_ATTEMPTS):
        return _unless_in_doubt(item, Outcome.GAVE_UP)
    # In whole seconds what is asked for is the same for the answers of one moment, and they share a batch.
    asked = float(math.ceil(answer.retry_after or 0))
    left = (terms.last_call - now) / SECOND
    delay = max(_delay(verdict, item), asked)
    if delay < left:
        return delay
    # No time for the whole delay: one last try just before the end, unless the provider said not to come before.
    last = float(math.floor(left - LAST_TRY))
    if last >= max(LAST_TRY, asked):
        return last
    return _unless_in_doubt(item, Outcome.EXPIRED)


def _unless_in_doubt(item: Item, outcome: Outcome) -> Outcome:
    """An earlier hand-over may have arrived, and that a later one did not undoes nothing."""
    return Outcome.UNKNOWN if item.doubts else outcome


def _delay(verdict: Verdict, item: Item) -> float:
    match verdict:
        case Verdict.NOT_SENT if item.unsent <= MAX_NOT_SENT:
            return NOT_SENT.delay(item.unsent)
        case Verdict.NOT_SENT:
            # Nobody could be reached for a while: the provider is away, and it is asked as rarely as then.
            return _unavailable(item).delay(item.unsent - MAX_NOT_SENT)
        case Verdict.THROTTLED_TARGET:
            return THROTTLED_TARGET.delay(item.attempts)
        case Verdict.THROTTLED_SENDER:
            return THROTTLED_SENDER.delay(item.attempts)
        case _:
            return _unavailable(item).delay(item.attempts)


def _unavailable(item: Item) -> Schedule:
    return FCM_UNAVAILABLE if item.platform == Platform.FCM else PROVIDER_UNAVAILABLE

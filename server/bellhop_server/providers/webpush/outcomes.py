"""What push services answer, and what that means: one table of what is known, and a rule by status for the rest.

RFC 8030 and 8292 name the statuses. Beside them Apple says a `reason` in JSON ("Sending web push notifications in web
apps and browsers"), Mozilla an `errno` (autopush, "HTTP Endpoints for Notifications"), Google a text and Microsoft
headers. Who answers does not matter: the words of one are not used by another. Texts are looked at and never repeated,
for the host may be a stranger's.
"""

import json
import re
from enum import Enum
from typing import NamedTuple

from bellhop_server.domain import Micros
from bellhop_server.domain.delivery import Answer, Verdict
from bellhop_server.providers.engine import Reply
from bellhop_server.providers.retry_after import retry_after


class Remedy(Enum):
    """What is to be done beside reporting the answer."""

    NONE = "none"
    """Nothing."""
    REPLACE = "replace"
    """The connection is at its end: others take what follows."""


class Meaning(NamedTuple):
    """Of an answer. TOKEN_DOUBTED: whether the key or the subscription is at fault, only other answers can tell.

    `known`: it is one that a push service is known to give, and not our fault.
    """

    verdict: Verdict
    remedy: Remedy = Remedy.NONE
    known: bool = True


_BUG = Meaning(Verdict.ADAPTER_BUG)
_GONE = Meaning(Verdict.TOKEN_GONE_SINCE)
_DOUBT = Meaning(Verdict.TOKEN_DOUBTED)
_MISMATCH = Meaning(Verdict.TOKEN_MISMATCH)
_CREDENTIALS = Meaning(Verdict.CREDENTIALS_INVALID)
_LARGE = Meaning(Verdict.PAYLOAD_TOO_LARGE)
_SENDER = Meaning(Verdict.THROTTLED_SENDER)
_TARGET = Meaning(Verdict.THROTTLED_TARGET)
_UNAVAILABLE = Meaning(Verdict.PROVIDER_UNAVAILABLE)
_OVER = Meaning(Verdict.NOT_SENT, Remedy.REPLACE)

# Apple's `reason`. Its words decide and not the status, which has been seen to differ.
REASONS = {
    "BadAuthorizationHeader": _DOUBT,
    "BadJwtToken": _CREDENTIALS,
    "BadPath": _GONE,
    "BadTtl": _BUG,
    "BadUrgency": _BUG,
    "BadVapidPublicKey": _CREDENTIALS,
    "BadWebPushRequest": _BUG,
    "BadWebPushTopic": _BUG,
    "ExpiredToken": _GONE,
    "IdleTimeout": _OVER,
    "InternalServerError": _UNAVAILABLE,
    "MethodNotAllowed": _BUG,
    "PayloadTooLarge": _LARGE,
    "ServiceUnavailable": _UNAVAILABLE,
    "Shutdown": _OVER,
    # As on its other networks: too many for this one subscription.
    "TooManyRequests": _TARGET,
    "Unregistered": _GONE,
    "VapidPkHashMismatch": _MISMATCH,
}

# Mozilla's `errno`.
NUMBERS = {
    101: _BUG,
    102: _GONE,
    103: _GONE,
    104: _LARGE,
    105: _GONE,
    106: _GONE,
    108: _BUG,
    109: _DOUBT,
    110: _BUG,
    111: _BUG,
    112: _BUG,
    113: _BUG,
    114: _BUG,
    201: _UNAVAILABLE,
    202: _UNAVAILABLE,
    900: _UNAVAILABLE,
    901: _UNAVAILABLE,
    902: _UNAVAILABLE,
    903: _UNAVAILABLE,
    999: _UNAVAILABLE,
}


class Phrase(NamedTuple):
    """Part of a text, in lower case, that means more than its status; what it means, and our word for it."""

    statuses: frozenset[int]
    words: str
    meaning: Meaning
    reason: str


_FORBIDDEN = frozenset({400, 401, 403})
# The first that fits.
PHRASES = (
    # Mozilla: "VAPID public key mismatch".
    Phrase(_FORBIDDEN, "key mismatch", _MISMATCH, "VapidKeyMismatch"),
    # Google: the credentials "do not correspond to the credentials used to create the subscriptions", or the key "does
    # not correspond to the sender ID used to subscribe this user".
    Phrase(_FORBIDDEN, "not correspond to the", _MISMATCH, "VapidKeyMismatch"),
    Phrase(frozenset({400}), "unauthorizedregistration", _CREDENTIALS, "UnauthorizedRegistration"),
    Phrase(frozenset({400}), "invalidttlparameter", _BUG, "InvalidTtlParameter"),
    # Microsoft: "Ttl value conflicts with X-WNS-Cache-Policy."
    Phrase(frozenset({400}), "conflicts with x-wns-cache-policy", _BUG, "CachePolicyConflict"),
)

STATUSES = {
    400: _BUG,
    401: _DOUBT,
    403: _DOUBT,
    404: _GONE,
    # Microsoft's word for too many.
    406: _SENDER,
    408: _UNAVAILABLE,
    410: _GONE,
    413: _LARGE,
    # The connection is not for this host: another may be.
    421: _OVER,
    425: _UNAVAILABLE,
    429: _SENDER,
    # ntfy: nobody is subscribed at the moment, so that nobody would pay for the message.
    507: _TARGET,
}
_REDIRECT = Meaning(Verdict.ENDPOINT_BLOCKED)
_NEW = Meaning(Verdict.ADAPTER_BUG, known=False)

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
_LOCATION = re.compile(rb"[!-~]{1,256}")
# Of a text; what is known to mean something is said at once.
_LOOKED_AT = 2048
_DROPPED = "dropped"
_THROTTLED = "channelthrottled"


def accepted(reply: Reply) -> Answer:
    """What an answer of 2xx means. The message's id is its resource's URL, where one was told, else Apple's id."""
    notification = _header(reply, b"x-wns-notificationstatus")
    if notification == _THROTTLED:
        return Answer(Verdict.THROTTLED_TARGET, reply.status, _THROTTLED)
    location = reply.header(b"location") or reply.header(b"apns-id") or b""
    message_id = location.decode() if _LOCATION.fullmatch(location) else ""
    return Answer(Verdict.ACCEPTED, reply.status, _DROPPED if notification == _DROPPED else "", message_id)


def refused(reply: Reply, now: Micros) -> tuple[Answer, Meaning]:
    """What any other answer means. Its body may be anything: HTML, empty, half of an answer."""
    meaning, reason = _meaning(reply)
    wait = retry_after(reply.header(b"retry-after"), now)
    return Answer(meaning.verdict, reply.status, reason, retry_after=wait), meaning


def _meaning(reply: Reply) -> tuple[Meaning, str]:
    status = reply.status
    if status // 100 == 3:
        # Followed, it would lead to where nobody has looked.
        return _REDIRECT, f"HTTP {status}"
    word, number = _said(reply.body)
    phrase = _phrase(reply)
    if phrase is not None:
        return phrase.meaning, phrase.reason
    if word in REASONS:
        return REASONS[word], word
    if number in NUMBERS:
        return NUMBERS[number], f"errno {number}"
    meaning = STATUSES.get(status) or (_UNAVAILABLE if status // 100 == 5 else _NEW)
    return meaning, word or f"HTTP {status}"


def _said(body: bytes) -> tuple[str, int]:
    """The `reason` and the `errno` of a body of JSON; empty and 0 where there are none."""
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        return "", 0
    if not isinstance(decoded, dict):
        return "", 0
    reason, number = decoded.get("reason"), decoded.get("errno")
    word = reason if isinstance(reason, str) and _WORD.fullmatch(reason) else ""
    return word, number if type(number) is int else 0


def _phrase(reply: Reply) -> Phrase | None:
    status = reply.status
    if status not in _FORBIDDEN:
        return None
    text = reply.body[:_LOOKED_AT].decode("utf-8", "replace").lower()
    text += "\n" + _header(reply, b"x-wns-error-description").lower()
    return next((phrase for phrase in PHRASES if status in phrase.statuses and phrase.words in text), None)


def _header(reply: Reply, name: bytes) -> str:
    return (reply.header(name) or b"").decode("ascii", "replace")

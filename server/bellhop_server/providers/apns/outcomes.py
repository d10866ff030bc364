"""What APNs answers, and what that means: one table of its reasons, and a rule for those it may yet invent.

Apple: "Handling notification responses from APNs".
"""

import json
from enum import Enum
from typing import Any, NamedTuple

from bellhop_server.domain import Micros
from bellhop_server.domain.delivery import Answer, Verdict
from bellhop_server.providers.engine import Reply
from bellhop_server.providers.reasons import quote
from bellhop_server.providers.retry_after import retry_after

# The year 9999: what is beyond can be no time.
_LATEST_MILLIS = 253_402_300_799_999


class Remedy(Enum):
    """What the adapter can do before it reports an answer."""

    NONE = "none"
    """Nothing."""
    REPLACE = "replace"
    """The connection is at its end: others take what follows."""
    RENEW = "renew"
    """A new provider token on another connection, and once more."""
    RECONNECT = "reconnect"
    """Once more on a new connection, which knows what the account has by now."""
    FALL_BACK = "fall back"
    """The provider token before this one."""


class Ruling(NamedTuple):
    """What a reason means, when the remedy does not help or there is none."""

    verdict: Verdict
    remedy: Remedy = Remedy.NONE


_BUG = Ruling(Verdict.ADAPTER_BUG)
_PAYLOAD = Ruling(Verdict.PAYLOAD_INVALID)
_CONFIG = Ruling(Verdict.CONFIG_ERROR)
_CREDENTIALS = Ruling(Verdict.CREDENTIALS_INVALID)
_UNAVAILABLE = Ruling(Verdict.PROVIDER_UNAVAILABLE)
_GONE = Ruling(Verdict.TOKEN_GONE_SINCE)

TOO_MANY_UPDATES = "TooManyProviderTokenUpdates"

REASONS = {
    "BadCollapseId": _PAYLOAD,
    "BadDeviceToken": Ruling(Verdict.TOKEN_INVALID),
    "BadExpirationDate": _BUG,
    "BadMessageId": _BUG,
    "BadPriority": _BUG,
    "BadRequestPayload": _PAYLOAD,
    "BadTopic": _CONFIG,
    "DeviceTokenNotForTopic": Ruling(Verdict.TOKEN_MISMATCH),
    "DuplicateHeaders": _BUG,
    "FeatureNotEnabled": _CONFIG,
    "IdleTimeout": Ruling(Verdict.NOT_SENT, Remedy.REPLACE),
    "InvalidPushType": _BUG,
    "MissingDeviceToken": _BUG,
    "MissingTopic": _CONFIG,
    "PayloadEmpty": _PAYLOAD,
    "TopicDisallowed": _CONFIG,
    "BadCertificate": _CREDENTIALS,
    "BadCertificateEnvironment": _CREDENTIALS,
    # Both spellings have been seen.
    "BadEnvironmentKeyIdInToken": _CREDENTIALS,
    "BadEnvironmentKeyInToken": _CREDENTIALS,
    "ExpiredProviderToken": Ruling(Verdict.THROTTLED_SENDER, Remedy.RENEW),
    "Forbidden": _CREDENTIALS,
    "InvalidProviderToken": Ruling(Verdict.CREDENTIALS_INVALID, Remedy.RECONNECT),
    "MissingProviderToken": _CREDENTIALS,
    "TopicMismatch": _CONFIG,
    "UnrelatedKeyIdInToken": Ruling(Verdict.CREDENTIALS_INVALID, Remedy.RECONNECT),
    "BadPath": _BUG,
    "MethodNotAllowed": _BUG,
    "ExpiredToken": _GONE,
    "Unregistered": _GONE,
    "PayloadTooLarge": Ruling(Verdict.PAYLOAD_TOO_LARGE),
    TOO_MANY_UPDATES: Ruling(Verdict.THROTTLED_SENDER, Remedy.FALL_BACK),
    "TooManyRequests": Ruling(Verdict.THROTTLED_TARGET),
    "InternalServerError": _UNAVAILABLE,
    "ServiceUnavailable": _UNAVAILABLE,
    "Shutdown": Ruling(Verdict.NOT_SENT, Remedy.REPLACE),
}

_STATUSES = {
    401: _CREDENTIALS,
    403: _CREDENTIALS,
    408: _UNAVAILABLE,
    410: _GONE,
    413: Ruling(Verdict.PAYLOAD_TOO_LARGE),
    429: Ruling(Verdict.THROTTLED_SENDER),
}

ENVIRONMENT_REASONS = frozenset({"BadEnvironmentKeyIdInToken", "BadEnvironmentKeyInToken"})
"""The key is good, but made for the other environment."""


class Outcome(NamedTuple):
    """An answer and what can be done about it. `known`: the reason is in the table."""

    answer: Answer
    remedy: Remedy
    known: bool


def judge(reply: Reply, provider_message_id: str, now: Micros) -> Outcome:
    """What any reply means. Its body may be anything: HTML of something in between, empty, half of an answer."""
    status = reply.status
    if status // 100 == 2:
        return Outcome(Answer(Verdict.ACCEPTED, status, "", provider_message_id), Remedy.NONE, True)
    body = _body(reply.body)
    reason = body.get("reason")
    ruling = REASONS.get(reason) if isinstance(reason, str) else None
    known = ruling is not None
    if ruling is None:
        # Neither redirects nor whatever else is not ours or the content's fault can be Apple's last word.
        ruling = _STATUSES.get(status) or (_BUG if status // 100 == 4 else _UNAVAILABLE)
        reason = quote(reason) if isinstance(reason, str) and reason else f"HTTP {status}"
    answer = Answer(
        ruling.verdict,
        status,
        str(reason),
        provider_message_id,
        retry_after(reply.header(b"retry-after"), now),
        _invalid_since(body.get("timestamp")) if ruling is _GONE else 0,
    )
    return Outcome(answer, ruling.remedy, known)


def _body(body: bytes) -> dict[str, Any]:
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}


def _invalid_since(millis: object) -> Micros:
    """Apple tells milliseconds. 0, "not told", for what can be no time."""
    if type(millis) is not int or not 0 < millis <= _LATEST_MILLIS:
        return 0
    return millis * 1000

"""What FCM answers, and what that means: one table of its codes, and rules for whatever has none.

Google, "ErrorCode" of the FCM HTTP v1 reference, and google/rpc/error_details.proto. The code of an `FcmError` comes
first, then google.rpc's `status`, then HTTP: a 404 of FCM is a device that is gone, and without an FcmError a project
that is not there.
"""

import json
import re
from enum import Enum
from typing import Any, NamedTuple

from bellhop_server.domain import Micros
from bellhop_server.domain.delivery import Answer, Verdict
from bellhop_server.providers.engine import Reply
from bellhop_server.providers.fcm.payload import LARGEST
from bellhop_server.providers.reasons import quote
from bellhop_server.providers.retry_after import retry_after

# Google asks for these where it names no time itself.
THROTTLED = 60.0
UNAVAILABLE = 10.0

_LONGEST_NAME = 512
_NAME = re.compile(r"projects/[^/\s]+/messages/[!-~]+")
_TARGET_FIELDS = frozenset({"message.token", "message.fid"})
_BAD_TARGET = re.compile(r"(?i)invalid (registration|fcm) token|registration token is not")
_DEVICE = re.compile(r"(?i)device|token|registration|instance")


class Remedy(Enum):
    """What the adapter can do before it reports an answer."""

    NONE = "none"
    """Nothing."""
    RENEW = "renew"
    """A new access token, and once more."""


class Reach(Enum):
    """Of what else under the same credential the same is to be expected."""

    MESSAGE = "message"
    """Of nothing else."""
    PROJECT = "project"
    """Of everything."""


class Meaning(NamedTuple):
    """What a code means, when the remedy does not help or there is none."""

    verdict: Verdict
    reach: Reach = Reach.MESSAGE
    remedy: Remedy = Remedy.NONE


class Outcome(NamedTuple):
    """An answer, how far it goes, and what can be done about it. `known`: it is in one of the tables."""

    answer: Answer
    reach: Reach = Reach.MESSAGE
    remedy: Remedy = Remedy.NONE
    known: bool = True


_BUG = Meaning(Verdict.ADAPTER_BUG)
_PAYLOAD = Meaning(Verdict.PAYLOAD_INVALID)
_TOO_LARGE = Meaning(Verdict.PAYLOAD_TOO_LARGE)
_BAD_TOKEN = Meaning(Verdict.TOKEN_INVALID)
_ONE_DEVICE = Meaning(Verdict.THROTTLED_TARGET)
_THROTTLED = Meaning(Verdict.THROTTLED_SENDER, Reach.PROJECT)
_UNAVAILABLE = Meaning(Verdict.PROVIDER_UNAVAILABLE)
_CONFIG = Meaning(Verdict.CONFIG_ERROR, Reach.PROJECT)
_STALE = Meaning(Verdict.CREDENTIALS_INVALID, Reach.PROJECT, Remedy.RENEW)
# What the Firebase project has for APNs or Web Push; other devices do without it, and our own token is good.
_THIRD_PARTY = Meaning(Verdict.CREDENTIALS_INVALID)

CODES = {
    "UNREGISTERED": Meaning(Verdict.TOKEN_GONE_SINCE),
    "SENDER_ID_MISMATCH": Meaning(Verdict.TOKEN_MISMATCH),
    "INVALID_ARGUMENT": _PAYLOAD,
    "QUOTA_EXCEEDED": _THROTTLED,
    "UNAVAILABLE": _UNAVAILABLE,
    "INTERNAL": _UNAVAILABLE,
    "UNSPECIFIED_ERROR": _UNAVAILABLE,
    "THIRD_PARTY_AUTH_ERROR": _THIRD_PARTY,
    # Its former name.
    "APNS_AUTH_ERROR": _THIRD_PARTY,
}
"""FcmError.errorCode."""

STATUSES = {
    "INVALID_ARGUMENT": _PAYLOAD,
    "UNAUTHENTICATED": _STALE,
    "PERMISSION_DENIED": _CONFIG,
    "NOT_FOUND": _CONFIG,
    "RESOURCE_EXHAUSTED": _THROTTLED,
    "INTERNAL": _UNAVAILABLE,
    "UNKNOWN": _UNAVAILABLE,
    "UNAVAILABLE": _UNAVAILABLE,
    "DEADLINE_EXCEEDED": _UNAVAILABLE,
}
"""google.rpc.Code of an error without an FcmError."""

_HTTP = {
    400: _BUG,
    401: _STALE,
    403: _CONFIG,
    404: _CONFIG,
    408: _UNAVAILABLE,
    413: _TOO_LARGE,
    429: _THROTTLED,
    500: _UNAVAILABLE,
    502: _UNAVAILABLE,
    503: _UNAVAILABLE,
    504: _UNAVAILABLE,
}


class Error(NamedTuple):
    """What an answer tells: every field is empty that is not there or not what it should be."""

    code: str
    """FcmError.errorCode."""
    status: str
    message: str
    fields: tuple[str, ...]
    """BadRequest.fieldViolations."""
    quotas: tuple[str, ...]
    """QuotaFailure.violations: subjects and descriptions."""
    info: str
    """ErrorInfo.reason."""
    detailed: bool
    """Whether there are any details."""


def accepted(reply: Reply) -> Answer:
    """What an answer of 2xx comes to: FCM took the message, whether or not it tells its name as it should."""
    try:
        name = json.loads(reply.body)["name"]
    except (ValueError, TypeError, LookupError, RecursionError):
        name = ""
    good = isinstance(name, str) and len(name) <= _LONGEST_NAME and _NAME.fullmatch(name)
    return Answer(Verdict.ACCEPTED, reply.status, "", name if good else "")


def judge(reply: Reply, body_size: int, now: Micros) -> Outcome:
    """What any other answer means. Its body may be anything: HTML of a front end, empty, half of an answer.

    `body_size`: bytes of the request's body; what is too large is refused without a word about its size.
    """
    error = read_error(reply.body)
    meaning, known = _meaning(reply.status, error, body_size)
    told = retry_after(reply.header(b"retry-after"), now)
    if meaning.verdict in (Verdict.THROTTLED_SENDER, Verdict.THROTTLED_TARGET):
        told = THROTTLED if told is None else told
    elif meaning.verdict is Verdict.PROVIDER_UNAVAILABLE:
        told = UNAVAILABLE if told is None else told
    answer = Answer(meaning.verdict, reply.status, _reason(reply.status, error, meaning), retry_after=told)
    return Outcome(answer, meaning.reach, meaning.remedy, known)


def read_error(body: bytes) -> Error:
    """The error in the body of an answer."""
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        decoded = None
    if isinstance(decoded, list) and decoded:
        # As Google's streaming endpoints tell it.
        decoded = decoded[0]
    error = _object(_object(decoded).get("error"))
    details = {str(each.get("@type")).rpartition(".")[2]: each for each in _objects(error.get("details"))}
    quotas = _objects(details.get("QuotaFailure", {}).get("violations"))
    return Error(
        code=_text(details.get("FcmError", {}).get("errorCode")),
        status=_text(error.get("status")),
        message=_text(error.get("message")),
        fields=tuple(
            _text(each.get("field")) for each in _objects(details.get("BadRequest", {}).get("fieldViolations"))
        ),
        quotas=tuple(f"{_text(each.get('subject'))} {_text(each.get('description'))}" for each in quotas),
        info=_text(details.get("ErrorInfo", {}).get("reason")),
        detailed=bool(details),
    )


def _meaning(status: int, error: Error, body_size: int) -> tuple[Meaning, bool]:
    """What it means, and whether that is known."""
    if error.code:
        known = CODES.get(error.code)
        if known is None:
            return _of_message(status), False
        return _in_detail(known, error), True
    if status == 400 and not error.detailed and body_size > LARGEST:
        return _TOO_LARGE, True
    by_status = STATUSES.get(error.status)
    if by_status is not None:
        return _in_detail(by_status, error), True
    meaning, known_status = _of_http(status)
    return meaning, known_status and not error.status


def _of_message(status: int) -> Meaning:
    """A code that Google may yet invent: FCM itself has looked at this one message, and nothing is said of others."""
    if status == 400:
        return _PAYLOAD
    meaning, _ = _of_http(status)
    return meaning if meaning is _THROTTLED else Meaning(meaning.verdict)


def _in_detail(meaning: Meaning, error: Error) -> Meaning:
    """The same word may be said of a whole request or of the target in it, of a project or of one device."""
    if meaning is _PAYLOAD and _of_target(error):
        return _BAD_TOKEN
    if meaning is _THROTTLED and error.quotas and all(map(_of_device, error.quotas)):
        return _ONE_DEVICE
    return meaning


def _of_target(error: Error) -> bool:
    if not error.code:
        # Not FCM but the front end, which knows what a message looks like and no token.
        return False
    if error.fields:
        return all(_snake(name) in _TARGET_FIELDS for name in error.fields)
    return bool(_BAD_TARGET.search(error.message))


def _of_device(quota: str) -> bool:
    subject, _, _ = quota.partition(" ")
    return not subject.startswith("project") and bool(_DEVICE.search(quota))


def _of_http(status: int) -> tuple[Meaning, bool]:
    known = _HTTP.get(status)
    if known is not None:
        return known, True
    # Neither redirects nor whatever else is not ours or the content's fault can be Google's last word.
    return (_BUG if status // 100 == 4 else _UNAVAILABLE), False


def _reason(status: int, error: Error, meaning: Meaning) -> str:
    word = quote(error.code or error.info or error.status)
    if not word:
        return f"HTTP {status}"
    if meaning is _PAYLOAD and error.fields and error.fields[0]:
        return quote(f"{word}: {error.fields[0]}")
    return word


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""

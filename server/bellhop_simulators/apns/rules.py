"""What APNs refuses, and with which reason.

From Apple's pages "Sending notification requests to APNs" and "Handling notification responses from APNs".

Apple does not publish in which order it looks; tests should not depend on which of two faults is told. Where Apple
names no reason, one was chosen: a topic without the suffix of its push type is BadTopic, a topic that the key does
not have is InvalidProviderToken, a body that is no JSON object is BadRequestPayload. So is a `background` push with an
`alert`, `sound` or `badge`, and a `liveactivity` without `timestamp`, `event` or (but for `end`) `content-state`. A
priority that the push type may not have is BadPriority, a `pushtotalk` with another expiration than 0
BadExpirationDate.
"""

import re
from dataclasses import dataclass
from typing import Any

from bellhop_simulators.http.request import Request
from bellhop_simulators.journal import decode_json

STATUS_OF_REASON = {
    "BadCollapseId": 400,
    "BadDeviceToken": 400,
    "BadExpirationDate": 400,
    "BadMessageId": 400,
    "BadPriority": 400,
    "BadRequestPayload": 400,
    "BadTopic": 400,
    "DeviceTokenNotForTopic": 400,
    "DuplicateHeaders": 400,
    "InvalidPushType": 400,
    "MissingDeviceToken": 400,
    "MissingTopic": 400,
    "PayloadEmpty": 400,
    "BadEnvironmentKeyIdInToken": 403,
    "ExpiredProviderToken": 403,
    "InvalidProviderToken": 403,
    "MissingProviderToken": 403,
    "UnrelatedKeyIdInToken": 403,
    "BadPath": 404,
    "MethodNotAllowed": 405,
    "ExpiredToken": 410,
    "Unregistered": 410,
    "PayloadTooLarge": 413,
    "TooManyProviderTokenUpdates": 429,
}

SUFFIXES = {
    "alert": "",
    "background": "",
    "complication": ".complication",
    "controls": ".push-type.controls",
    "fileprovider": ".pushkit.fileprovider",
    "liveactivity": ".push-type.liveactivity",
    "location": ".location-query",
    "mdm": "",
    "pushtotalk": ".voip-ptt",
    "voip": ".voip",
    "widgets": ".push-type.widgets",
}
"""What each push type adds to the bundle id to make the topic."""
_PRIORITIES = (None, "1", "5", "10")
_PRIORITIES_OF = {"background": ("5",), "liveactivity": (None, "5", "10"), "pushtotalk": (None, "10")}  # None means 10.
MAX_PAYLOAD = {"voip": 5120}
DEFAULT_MAX_PAYLOAD = 4096
MAX_COLLAPSE_ID = 64

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_TOKEN = re.compile(r"([0-9a-f]{2}){1,256}", re.IGNORECASE)
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,255}")
_NUMBER = re.compile(r"[0-9]{1,19}")
_SHOWN = frozenset({"alert", "sound", "badge"})
_LIVE_EVENTS = ("start", "update", "end")
_DEVICE_PATH = "/3/device/"
_LONGEST_FIRST = sorted((suffix for suffix in SUFFIXES.values() if suffix), key=len, reverse=True)


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer of the rules: 200, or a refusal with its reason and, with 410, milliseconds since the epoch."""

    status: int
    reason: str = ""
    timestamp: int | None = None


ACCEPTED = Verdict(200)


def refusal(reason: str) -> Verdict:
    """The refusal with `reason`."""
    return Verdict(STATUS_OF_REASON[reason], reason)


def bundle_id(topic: str) -> str:
    """`topic` without the suffix of a push type."""
    for suffix in _LONGEST_FIRST:
        if topic.endswith(suffix):
            return topic.removesuffix(suffix)
    return topic


def is_uuid(text: str) -> bool:
    """Whether `text` is a UUID in its usual form, 8-4-4-4-12."""
    return _UUID.fullmatch(text) is not None


def device_token(path: str) -> str:
    """The token of a path, in lower case; empty if there is none."""
    return path.removeprefix(_DEVICE_PATH).lower() if path.startswith(_DEVICE_PATH) else ""


def judge_head(headers: dict[str, str], *, repeated: bool) -> str:
    """The reason against method, path and headers of a request; empty if there is none. `repeated`: some header is."""
    topic, push_type = headers.get("apns-topic"), headers.get("apns-push-type")
    priority, collapse_id = headers.get("apns-priority"), headers.get("apns-collapse-id")
    path = headers[":path"]
    if repeated:
        return "DuplicateHeaders"
    if "apns-id" in headers and not is_uuid(headers["apns-id"]):
        return "BadMessageId"
    if headers[":method"] != "POST":
        return "MethodNotAllowed"
    if not topic:
        return "MissingTopic"
    if collapse_id is not None and len(collapse_id.encode()) > MAX_COLLAPSE_ID:
        return "BadCollapseId"
    if priority not in _PRIORITIES:
        return "BadPriority"
    if push_type is not None and push_type not in SUFFIXES:
        return "InvalidPushType"
    if priority not in _PRIORITIES_OF.get(push_type or "", _PRIORITIES):
        return "BadPriority"
    if not _NUMBER.fullmatch(headers.get("apns-expiration", "0")):
        return "BadExpirationDate"
    if push_type == "pushtotalk" and headers.get("apns-expiration") != "0":
        return "BadExpirationDate"
    if not _TOPIC.fullmatch(topic) or not _suffix_fits(topic, push_type):
        return "BadTopic"
    if path in (_DEVICE_PATH, _DEVICE_PATH.rstrip("/")):
        return "MissingDeviceToken"
    if not path.startswith(_DEVICE_PATH):
        return "BadPath"
    if not _TOKEN.fullmatch(path, len(_DEVICE_PATH)):
        return "BadDeviceToken"
    return ""


def judge_payload(request: Request, push_type: str | None) -> str:
    """The reason against the body of a request; empty if there is none."""
    if not request.size:
        return "PayloadEmpty"
    if request.size > MAX_PAYLOAD.get(push_type or "", DEFAULT_MAX_PAYLOAD):
        return "PayloadTooLarge"
    try:
        payload = decode_json(request.body)
    except ValueError:
        return "BadRequestPayload"
    good = isinstance(payload, dict) and _contents_fit(payload.get("aps"), push_type)
    return "" if good else "BadRequestPayload"


def _contents_fit(aps: Any, push_type: str | None) -> bool:
    fields = aps if isinstance(aps, dict) else {}
    if push_type == "background":
        return _SHOWN.isdisjoint(fields)
    if push_type == "liveactivity":
        # What an activity shows last may be what it shows already.
        state = isinstance(fields.get("content-state"), dict) or fields.get("event") == "end"
        return state and type(fields.get("timestamp")) is int and fields.get("event") in _LIVE_EVENTS
    return True


def _suffix_fits(topic: str, push_type: str | None) -> bool:
    if push_type is None or push_type == "mdm":  # The topic of MDM is the UID of a certificate.
        return True
    return topic == bundle_id(topic) + SUFFIXES[push_type]

"""What a notification becomes on APNs: a JSON body, and the headers that are the same for all devices.

Apple: "Generating a remote notification", "Sending notification requests to APNs".
"""

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

from bellhop_server.domain import SECOND, Micros
from bellhop_server.domain.delivery import Answer, Chunk, Verdict
from bellhop_server.domain.notification import ApnsOverride, ApnsPushType, Notification, Priority
from bellhop_server.domain.stamp import STAMP_LENGTH

LARGEST = 4096
LARGEST_VOIP = 5120
LARGEST_COLLAPSE_ID = 64

_STAMP = b',"stamp":"%s"}}'
_STAMP_SIZE = len(_STAMP % b"") - len(b"}}") + STAMP_LENGTH

_NOW = b"10"
_SAVING_POWER = b"5"
_NO_OVERRIDE = ApnsOverride()
# Escapes would make six bytes of a letter that is two in UTF-8, and Apple counts bytes.
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


class _Type(NamedTuple):
    """The header's word for a push type, and what it adds to the bundle id to make the topic."""

    name: bytes
    suffix: str


_TYPES = {
    ApnsPushType.ALERT: _Type(b"alert", ""),
    ApnsPushType.BACKGROUND: _Type(b"background", ""),
    ApnsPushType.VOIP: _Type(b"voip", ".voip"),
    ApnsPushType.COMPLICATION: _Type(b"complication", ".complication"),
    ApnsPushType.FILE_PROVIDER: _Type(b"fileprovider", ".pushkit.fileprovider"),
    ApnsPushType.MDM: _Type(b"mdm", ""),
    ApnsPushType.LIVE_ACTIVITY: _Type(b"liveactivity", ".push-type.liveactivity"),
    ApnsPushType.LOCATION: _Type(b"location", ".location-query"),
    ApnsPushType.PUSH_TO_TALK: _Type(b"pushtotalk", ".voip-ptt"),
    ApnsPushType.WIDGETS: _Type(b"widgets", ".push-type.widgets"),
    ApnsPushType.CONTROLS: _Type(b"controls", ".push-type.controls"),
}


@dataclass(frozen=True, slots=True)
class Rendered:
    """A body of JSON, the header fields that go with it, and the suffix of the topic.

    `largest`: bytes that APNs takes of such a body. `kept`: APNs may keep it for a while, and each request is to say by
    `expiration` for how long. `ours`: the body ends with an object of ours that has something in it.
    """

    body: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    suffix: str
    kept: bool
    largest: int
    ours: bool

    def stamped(self, stamp: str) -> bytes:
        """The body for one delivery. An empty stamp is none."""
        return self.body[:-2] + _STAMP % stamp.encode() if stamp and self.ours else self.body

    def topic(self, bundle_id: str) -> str:
        """The `apns-topic` for an app; one that was registered with the suffix keeps it."""
        return bundle_id if bundle_id.endswith(self.suffix) else bundle_id + self.suffix


def render(chunk: Chunk) -> Rendered | Answer:
    """What all deliveries of the chunk have in common, or the answer to them all when APNs would refuse it."""
    notification = chunk.notification
    apns = notification.apns or _NO_OVERRIDE
    push_type = apns.push_type or (ApnsPushType.BACKGROUND if notification.silent else ApnsPushType.ALERT)
    collapse_id = _collapse_id(notification.collapse_key if apns.collapse_key is None else apns.collapse_key)
    if len(collapse_id) > LARGEST_COLLAPSE_ID:
        return Answer(Verdict.PAYLOAD_INVALID, reason="BadCollapseId")
    payload = _payload(notification, apns, push_type)
    if not payload or (push_type is ApnsPushType.ALERT and payload == {"aps": {}}):
        return Answer(Verdict.PAYLOAD_INVALID, reason="PayloadEmpty")
    # A management command is for the system, which wants nothing else in it.
    ours = bool(chunk.message_id) and push_type is not ApnsPushType.MDM
    if ours:
        # Last, since a stamp is put in behind it.
        payload["bellhop"] = payload.pop("bellhop", {}) | {"message_id": chunk.message_id}
    try:
        body = _JSON.encode(payload).encode()
    except (ValueError, RecursionError):
        return Answer(Verdict.PAYLOAD_INVALID, reason="BadRequestPayload")
    largest = LARGEST_VOIP if push_type is ApnsPushType.VOIP else LARGEST
    if len(body) + (_STAMP_SIZE if chunk.stamped else 0) > largest:
        return Answer(Verdict.PAYLOAD_TOO_LARGE, reason="PayloadTooLarge")
    fields = [
        (b"apns-push-type", _TYPES[push_type].name),
        (b"apns-priority", _priority(push_type, apns.priority or chunk.priority)),
    ]
    if collapse_id:
        fields.append((b"apns-collapse-id", collapse_id))
    kept = not chunk.now_or_never and push_type is not ApnsPushType.PUSH_TO_TALK
    if not kept:
        # "Try once, store nothing"; without the header APNs would keep it for up to 30 days.
        fields.append((b"apns-expiration", b"0"))
    return Rendered(body, tuple(fields), _TYPES[push_type].suffix, kept, largest, ours)


def expiration(expire_time: Micros) -> tuple[bytes, bytes]:
    """The header field that has APNs stop trying then."""
    return b"apns-expiration", b"%d" % max(expire_time // SECOND, 1)


def _payload(notification: Notification, apns: ApnsOverride, push_type: ApnsPushType) -> dict[str, Any]:
    aps = aps_of(notification, apns, push_type)
    # A management command has no `aps`; everything else has one, be it empty.
    payload: dict[str, Any] = {"aps": aps} if aps or push_type is not ApnsPushType.MDM else {}
    payload |= notification.data
    payload |= apns.payload
    ours = {"image_url": notification.image_url, "link": notification.link}
    if any(ours.values()):
        payload["bellhop"] = {key: value for key, value in ours.items() if value}
    return payload


def aps_of(notification: Notification, apns: ApnsOverride, push_type: ApnsPushType) -> dict[str, Any]:
    """The dictionary `aps` of a payload; what `apns` names wins over the notification."""
    if push_type is ApnsPushType.BACKGROUND:
        # Apple: nothing but `content-available`, so texts that are meant for other networks are left out.
        return {"content-available": 1} | apns.aps
    fields: dict[str, Any] = {
        "alert": _alert(notification, apns),
        "sound": notification.sound,
        "category": notification.category,
        "thread-id": notification.thread_id,
    }
    aps = {key: value for key, value in fields.items() if value}
    if notification.badge is not None:
        aps["badge"] = notification.badge
    if notification.silent or apns.content_available:
        aps["content-available"] = 1
    if apns.mutable_content:
        aps["mutable-content"] = 1
    return aps | apns.aps


def _alert(notification: Notification, apns: ApnsOverride) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "title": notification.title if apns.title is None else apns.title,
        "subtitle": notification.subtitle,
        "body": notification.body if apns.body is None else apns.body,
        "title-loc-key": apns.title_loc_key,
        "title-loc-args": list(apns.title_loc_args),
        "loc-key": apns.loc_key,
        "loc-args": list(apns.loc_args),
        "launch-image": apns.launch_image,
    }
    return {key: value for key, value in fields.items() if value}


def _priority(push_type: ApnsPushType, priority: Priority) -> bytes:
    if push_type is ApnsPushType.BACKGROUND:
        return _SAVING_POWER
    if push_type is ApnsPushType.PUSH_TO_TALK:
        return _NOW
    return _SAVING_POWER if priority is Priority.LOW else _NOW


def _collapse_id(key: str) -> bytes:
    """The key as a header value, which cannot begin or end with a space (RFC 9113 section 8.2.1): then its hash."""
    return (key if key == key.strip(" \t") else sha256(key.encode()).hexdigest()).encode()

"""What a notification becomes on FCM: one message for whatever platform is behind a token.

Google, "REST Resource: projects.messages" of the FCM HTTP v1 API. Everything but the target and the time that is left
is the same for all devices, so it is encoded once.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bellhop_server.domain import SECOND, Micros
from bellhop_server.domain.delivery import Answer, Chunk, Verdict
from bellhop_server.domain.notification import ApnsOverride, ApnsPushType, FcmOverride, Notification, Priority
from bellhop_server.domain.stamp import STAMP_LENGTH
from bellhop_server.providers.apns.payload import aps_of

LARGEST = 4096
LONGEST_TTL = 2_419_200

_STAMP = "bellhop_stamp"

INSTALLATION = "fid"
"""The supplement of a target that is a Firebase installation id."""

# Ten digits of seconds, more than will be needed before 2286.
_LATEST = 10**10 - 1
_RESERVED = re.compile(r"from|message_type|google.*|gcm.*", re.DOTALL)
# RFC 8030 section 5.4. Push services have been seen to refuse `-` and `_`, so what is hashed is told in hexadecimal.
_TOPIC = re.compile(r"[A-Za-z0-9]{1,32}")
_URGENCIES = {Priority.LOW: "low", Priority.NORMAL: "normal", Priority.HIGH: "high"}
_NO_OVERRIDE = FcmOverride()
_NO_APNS = ApnsOverride()


@dataclass(frozen=True, slots=True)
class Content:
    """A notification on the terms of this network. `shown`: the system shows it, not the app."""

    notification: Notification
    fcm: FcmOverride
    collapse_key: str
    priority: Priority
    shown: bool


class Rendered:
    """A message without its target and the time that is left to it. `size`: bytes of what Google limits."""

    def __init__(self, message: dict[str, Any], *, size: int, kept: bool, own_ttl: bool, longest_stamp: str) -> None:
        """`message` ends with its data if it has any. `kept`: Google may keep it for a while. `own_ttl`: the sender has
        written a `ttl` for Android itself.

        Raises ValueError or RecursionError for what JSON cannot say.
        """
        self.size = size
        self._android: dict[str, Any] = message["android"]
        self._apns: dict[str, str] = message["apns"]["headers"]
        self._web: dict[str, str] = message["webpush"]["headers"]
        self._message = message
        self._kept = kept
        self._own_ttl = own_ttl
        self._prefix = b""
        self._set_time(LONGEST_TTL, _LATEST)
        self.frame = len(self.body(b"", "", _LATEST * SECOND, 0, longest_stamp))
        """Bytes of a body around its target, at most."""

    def body(self, address: bytes, supplement: str, expire_time: Micros, now: Micros, stamp: str = "") -> bytes:
        """The request's body for one target; `address` as JSON, `stamp` empty for none."""
        ttl = min(max((expire_time - now + SECOND // 2) // SECOND, 0), LONGEST_TTL) if self._kept else 0
        # APNs wants the moment, and 0 for "try once".
        expiration = max(expire_time // SECOND, 1) if ttl else 0
        if (ttl, expiration) != self._time:
            # Neighbours mostly have the same.
            self._set_time(ttl, expiration)
        kind = b"fid" if supplement == INSTALLATION else b"token"
        if stamp:
            # Into the data, behind the id of the message.
            return b'%s,"%s":"%s"},"%s":%s}}' % (self._prefix[:-1], _STAMP.encode(), stamp.encode(), kind, address)
        return b'%s,"%s":%s}}' % (self._prefix, kind, address)

    def _set_time(self, ttl: int, expiration: int) -> None:
        self._time = (ttl, expiration)
        if not self._own_ttl:
            self._android["ttl"] = f"{ttl}s"
        self._apns["apns-expiration"] = str(expiration)
        self._web["TTL"] = str(ttl)
        # Up to the brace that ends the message: the target comes in front of it.
        self._prefix = b'{"message":' + encode(self._message)[:-1]


def encode(value: object) -> bytes:
    """JSON in as few bytes as it takes. Raises ValueError or RecursionError for what it cannot say."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def render(chunk: Chunk) -> Rendered | Answer:
    """What all deliveries of the chunk have in common, or the answer to them all when Google would refuse it."""
    content = _content(chunk)
    data = _data(content)
    if any(_RESERVED.fullmatch(key) for key in data):
        return Answer(Verdict.PAYLOAD_INVALID, reason="ReservedDataKey")
    android = _merged(_android(content), content.fcm.android)
    notification = _block(content) if content.shown else {}
    message: dict[str, Any] = {"notification": notification} if notification else {}
    message |= {"android": android, "apns": _apns(content), "webpush": _webpush(content)}
    if chunk.message_id:
        data["bellhop_message_id"] = chunk.message_id
    if data:
        message["data"] = data
    stamp = "-" * STAMP_LENGTH if chunk.stamped else ""
    size = _size(notification) + _size(data) + (_size({_STAMP: stamp}) if stamp else 0)
    if size > LARGEST:
        return Answer(Verdict.PAYLOAD_TOO_LARGE, reason="PayloadTooLarge")
    try:
        return Rendered(
            message,
            size=size,
            kept=not chunk.now_or_never,
            own_ttl="ttl" in content.fcm.android,
            longest_stamp=stamp,
        )
    except (ValueError, RecursionError):
        return Answer(Verdict.PAYLOAD_INVALID, reason="NotJson")


def _content(chunk: Chunk) -> Content:
    """What is said for FCM alone put in place of what is said for all."""
    notification = chunk.notification
    fcm = notification.fcm or _NO_OVERRIDE
    return Content(
        notification=replace(
            notification,
            title=notification.title if fcm.title is None else fcm.title,
            body=notification.body if fcm.body is None else fcm.body,
            data=fcm.data or notification.data,
        ),
        fcm=fcm,
        collapse_key=notification.collapse_key if fcm.collapse_key is None else fcm.collapse_key,
        priority=fcm.priority or chunk.priority,
        shown=not (notification.silent or fcm.data_only),
    )


def _block(content: Content) -> dict[str, str]:
    notification = content.notification
    return _present({"title": notification.title, "body": notification.body, "image": notification.image_url})


def _data(content: Content) -> dict[str, str]:
    """The app's own values, and beside them what no block has a word for."""
    notification = content.notification
    ours = {"link": notification.link, "category": notification.category}
    if not content.shown:
        ours |= {
            "title": notification.title,
            "body": notification.body,
            "image_url": notification.image_url,
            "sound": notification.sound,
            "badge": "" if notification.badge is None else str(notification.badge),
            "thread_id": notification.thread_id,
        }
    return notification.data | {f"bellhop_{name}": value for name, value in _present(ours).items()}


def _android(content: Content) -> dict[str, Any]:
    fcm = content.fcm
    android: dict[str, Any] = {"priority": "HIGH" if _urgent(content) else "NORMAL"}
    if content.collapse_key:
        android["collapse_key"] = content.collapse_key
    if content.shown:
        shown = {
            "sound": content.notification.sound,
            "channel_id": fcm.channel_id,
            "icon": fcm.icon,
            "color": fcm.color,
            "tag": content.collapse_key,
            # 0 means "one more" there, so a number cannot be cleared.
            "notification_count": content.notification.badge,
        }
        if block := _present(shown):
            android["notification"] = block
    return android


def _urgent(content: Content) -> bool:
    """Whether a sleeping phone is woken. Google wakes it later and later for an app that then shows nothing."""
    if content.notification.silent:
        return False
    return content.priority >= (Priority.NORMAL if content.shown else Priority.HIGH)


def _apns(content: Content) -> dict[str, Any]:
    """For an Apple device behind an FCM token. Texts that the common block has are not repeated."""
    notification, override = content.notification, content.notification.apns or _NO_APNS
    push_type = ApnsPushType.ALERT if content.shown else ApnsPushType.BACKGROUND
    aps = aps_of(notification, replace(override, title=None, body=None), push_type)
    if content.shown:
        if aps.get("alert") == _present({"title": notification.title, "body": notification.body}):
            del aps["alert"]
        if notification.image_url:
            # Only the app's service extension can show it.
            aps.setdefault("mutable-content", 1)
    now = content.shown and content.priority > Priority.LOW
    headers = {"apns-push-type": push_type.name.lower(), "apns-priority": "10" if now else "5"}
    if content.collapse_key:
        headers["apns-collapse-id"] = content.collapse_key
    payload = override.payload | ({"aps": aps} if aps else {})
    return {"headers": headers} | ({"payload": payload} if payload else {})


def _webpush(content: Content) -> dict[str, Any]:
    """For a browser behind an FCM token."""
    notification = content.notification
    headers = {"Urgency": _URGENCIES[content.priority]}
    if content.collapse_key:
        headers["Topic"] = _topic(content.collapse_key)
    block: dict[str, Any] = {"headers": headers}
    if content.shown:
        options = _present({"tag": content.collapse_key})
        options |= notification.web_push.options if notification.web_push else {}
        if options:
            block["notification"] = options
        if notification.link.startswith("https://"):
            block["fcm_options"] = {"link": notification.link}
    return block


def _topic(key: str) -> str:
    return key if _TOPIC.fullmatch(key) else hashlib.sha256(key.encode()).hexdigest()[:32]


def _present(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def _merged(ours: dict[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """`theirs` over `ours`, block by block."""
    merged = dict(ours)
    for name, value in theirs.items():
        mine = merged.get(name)
        merged[name] = _merged(mine, value) if isinstance(mine, dict) and isinstance(value, dict) else value
    return merged


def _size(fields: Mapping[str, str]) -> int:
    return sum(len(name.encode()) + len(value.encode()) for name, value in fields.items())

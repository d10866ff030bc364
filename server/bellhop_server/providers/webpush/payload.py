"""What a notification becomes on Web Push: a JSON body for the service worker, and the headers of RFC 8030.

The body is the same for all subscriptions until it is encrypted. `docs/web-push.md` says what a service worker gets.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from bellhop_server.domain import DAY, SECOND, Micros
from bellhop_server.domain.delivery import Answer, Chunk, Verdict
from bellhop_server.domain.notification import Notification, Priority, WebPushOverride
from bellhop_server.domain.stamp import STAMP_LENGTH
from bellhop_server.providers.webpush.encryption import LARGEST_PLAINTEXT

VERSION = 1
"""Of the envelope; grows when a service worker has to know."""

LONGEST_TTL: Micros = 28 * DAY

# RFC 8030 section 5.4 allows `-` and `_` too, but Apple was seen to refuse them.
_TOPIC = re.compile(r"[A-Za-z0-9]{1,32}")
_TOPIC_BYTES = 16
_URGENCIES = {Priority.LOW: b"low", Priority.NORMAL: b"normal", Priority.HIGH: b"high"}
_NO_OVERRIDE = WebPushOverride()
# WNS refuses a TTL of 0 unless it is also told not to cache. A host whose name says nothing may be WNS behind a proxy;
# to all others the field means nothing, and those that are known are spared it.
_OTHERS = (".googleapis.com", ".mozilla.com", ".apple.com")
_CACHE_POLICY = b"x-wns-cache-policy"

_STAMP = b',"stamp":"%s"}'
_STAMP_SIZE = len(_STAMP % b"") - len(b"}") + STAMP_LENGTH

Field = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A body before encryption, and the header fields that are the same for all. `kept`: ttl was not 0. `ours`: the
    body is an object of ours, not the sender's.
    """

    plaintext: bytes
    fields: tuple[Field, ...]
    kept: bool
    ours: bool

    def stamped(self, stamp: str) -> bytes:
        """The body for one delivery, before encryption. An empty stamp is none."""
        return self.plaintext[:-1] + _STAMP % stamp.encode() if stamp and self.ours else self.plaintext

    def lasting(self, expire_time: Micros, now: Micros, host: str) -> tuple[Field, ...]:
        """The header fields that say how long the push service of that host may keep it: at most 28 days."""
        # To the nearest second: whoever asks for an hour gets an hour.
        left = (min(expire_time - now, LONGEST_TTL) + SECOND // 2) // SECOND
        # Not 0, which would mean now or never.
        ttl = max(left, 1) if self.kept else 0
        time = (b"ttl", b"%d" % ttl)
        if host.endswith(_OTHERS):
            return (time,)
        return (time, (_CACHE_POLICY, b"cache" if ttl else b"no-cache"))


def render(chunk: Chunk) -> Rendered | Answer:
    """What all deliveries of the chunk have in common, or the answer to them all when it is too large."""
    notification = chunk.notification
    override = notification.web_push or _NO_OVERRIDE
    key = notification.collapse_key if override.collapse_key is None else override.collapse_key
    try:
        plaintext = (override.raw_payload or _encode(_envelope(chunk, override, key))).encode()
    except (ValueError, RecursionError):
        return Answer(Verdict.PAYLOAD_INVALID, reason="NotJson")
    ours = not override.raw_payload
    if len(plaintext) + (_STAMP_SIZE if ours and chunk.stamped else 0) > LARGEST_PLAINTEXT:
        return Answer(Verdict.PAYLOAD_TOO_LARGE, reason="PayloadTooLarge")
    fields = [
        (b"content-encoding", b"aes128gcm"),
        (b"content-type", b"application/octet-stream"),
        (b"urgency", _URGENCIES[override.priority or chunk.priority]),
    ]
    if key:
        fields.append((b"topic", _topic(key)))
    return Rendered(plaintext, tuple(fields), kept=not chunk.now_or_never, ours=ours)


def _envelope(chunk: Chunk, override: WebPushOverride, key: str) -> dict[str, Any]:
    notification = chunk.notification
    options: dict[str, Any] = {
        "body": notification.body if override.body is None else override.body,
        "image": notification.image_url,
        "tag": key,
        "data": _data(notification),
    }
    fields: dict[str, Any] = {
        "title": notification.title if override.title is None else override.title,
        "options": {name: value for name, value in options.items() if value} | override.options,
        "category": notification.category,
        "silent": notification.silent,
        "message_id": chunk.message_id,
    }
    envelope = {"bellhop": VERSION} | {name: value for name, value in fields.items() if value}
    if notification.badge is not None:
        envelope["badge"] = notification.badge
    return envelope


def _data(notification: Notification) -> dict[str, Any]:
    """The app's own values; no key of its own begins with `bellhop`."""
    return notification.data | ({"bellhop": {"link": notification.link}} if notification.link else {})


def _encode(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _topic(key: str) -> bytes:
    if _TOPIC.fullmatch(key):
        return key.encode()
    return hashlib.sha256(key.encode()).digest()[:_TOPIC_BYTES].hex().encode()

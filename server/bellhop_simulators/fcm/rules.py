"""What FCM refuses in a message that its schema allows.

From Google's pages "projects.messages", "FCM error codes" and "Message types". Google does not say what a token looks
like; here it is eight or more characters of base64url and `:`.
"""

import json
import re
from typing import Any

from bellhop_simulators.fcm.errors import Refusal, of_fcm, of_google, of_schema
from bellhop_simulators.fcm.kinds import Violations, seconds
from bellhop_simulators.fcm.schema import SEND_REQUEST, TARGETS
from bellhop_simulators.journal import decode_json

MAX_PAYLOAD = 4096
MAX_TOPIC_PAYLOAD = 2048
MAX_TTL = 2_419_200
"""Seconds: four weeks."""
MAX_TOPICS = 5
"""In a condition."""

INVALID_TOKEN = "The registration token is not a valid FCM registration token"  # noqa: S105 - A message.

_TOKEN = re.compile(r"[A-Za-z0-9_:-]{8,4096}")
_TOPIC = re.compile(r"[a-zA-Z0-9-_.~%]{1,900}")
_LABEL = re.compile(r"[a-zA-Z0-9-_.~%]{1,50}")
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
_IN_TOPICS = re.compile(r"'([^']*)'\s+in\s+topics")
_REST_OF_CONDITION = re.compile(r"[\s()!]*(x[\s()]*((&&|\|\|)[\s()!]*x[\s()]*)*)")
_RESERVED = ("from", "message_type")
_RESERVED_PREFIXES = ("google", "gcm")


def read(body: bytes) -> tuple[dict[str, Any], Refusal | None]:
    """The request of messages:send by the schema, as far as it fits, and the refusal if it does not."""
    try:
        raw = decode_json(body)
    except ValueError as error:
        return {}, of_schema([("", f"Invalid JSON payload received. {error}")])
    if not isinstance(raw, dict):
        return {}, of_schema([("", "Invalid JSON payload received. Root element must be a message.")])
    faults: Violations = []
    request = SEND_REQUEST.read(raw, "", faults) or {}
    return request, of_schema(faults) if faults else None


def judge(message: dict[str, Any]) -> Refusal | None:
    """What is wrong with `message`, whoever it is for; None if nothing is."""
    if TARGETS.isdisjoint(message):
        return of_fcm("INVALID_ARGUMENT", "Recipient of the message is not set.", violated="message")
    faults = _faults(message)
    if faults:
        place, told = faults[0]
        return of_fcm("INVALID_ARGUMENT", told, violated=place)
    limit = MAX_PAYLOAD if "token" in message or "fid" in message else MAX_TOPIC_PAYLOAD
    if _size(message) > limit:
        return of_google(400, "Message is too big")
    return None


def _faults(message: dict[str, Any]) -> list[tuple[str, str]]:
    android = message.get("android", message.get("android_v2", {}))
    webpush = message.get("webpush", {})
    found = _target_faults(message)
    for place, block in (("message", message), ("message.android", android), ("message.webpush", webpush)):
        found += [
            (f"{place}.data", f"Invalid data payload key: {key}")
            for key in block.get("data", {})
            if key in _RESERVED or key.startswith(_RESERVED_PREFIXES)
        ]
    for place, block in (
        ("message", message),
        ("message.android", android),
        ("message.apns", message.get("apns", {})),
        ("message.webpush", webpush),
    ):
        label = block.get("fcm_options", {}).get("analytics_label", "")
        if label and not _LABEL.fullmatch(label):
            found.append((f"{place}.fcm_options.analytics_label", "Invalid analytics label"))
    if not 0 <= seconds(android.get("ttl", "0s")) <= MAX_TTL:
        found.append(("message.android.ttl", "Invalid TTL: must be from 0 to 2419200 seconds"))
    color = android.get("notification", {}).get("color", "")
    if color and not _COLOR.fullmatch(color):
        found.append(("message.android.notification.color", "Invalid color: must be #rrggbb"))
    link = webpush.get("fcm_options", {}).get("link", "")
    if link and not link.startswith("https://"):
        found.append(("message.webpush.fcm_options.link", "Invalid link: must be HTTPS"))
    return found


def _target_faults(message: dict[str, Any]) -> list[tuple[str, str]]:
    for name in ("token", "fid"):
        if name in message and not _TOKEN.fullmatch(message[name]):
            return [(f"message.{name}", INVALID_TOKEN)]
    if "topic" in message and not _TOPIC.fullmatch(message["topic"]):
        return [("message.topic", "Invalid topic name")]
    if "condition" in message:
        topics = _IN_TOPICS.findall(message["condition"])
        rest = _IN_TOPICS.sub("x", message["condition"])
        balanced = rest.count("(") == rest.count(")")
        good = balanced and _REST_OF_CONDITION.fullmatch(rest) and all(map(_TOPIC.fullmatch, topics))
        if not good or len(topics) > MAX_TOPICS:
            return [("message.condition", "Invalid condition expression")]
    return []


def _size(message: dict[str, Any]) -> int:
    """Octets of notification and data as the platform that gets most of them has them."""
    data, notification = message.get("data", {}), message.get("notification", {})
    android, webpush = message.get("android", message.get("android_v2", {})), message.get("webpush", {})
    return max(
        _octets(android.get("data", data)) + _octets({**notification, **android.get("notification", {})}),
        _octets(data) + _octets(message.get("apns", {}).get("payload", notification)),
        _octets(webpush.get("data", data)) + _octets(webpush.get("notification", notification)),
    )


def _octets(block: dict[str, Any]) -> int:
    return sum(_length(name) + _length(_text(value)) for name, value in block.items())


def _length(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))  # JSON knows halves of surrogate pairs.


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))

"""The rules of a send: what a notification may say, to whom, and how it is handled."""

import math
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from urllib.parse import urlsplit

from google.protobuf.struct_pb2 import Struct, Value

from bellhop.v1 import device_pb2, event_pb2, message_pb2
from bellhop.v1 import notifier_pb2 as notes
from bellhop_server.rpc.rules import MESSAGE_ID, VISIBLE_ASCII, Findings, entry, joined

MAX_TTL = timedelta(days=28)
MAX_AHEAD = timedelta(days=90)
MAX_DATA = 100
MAX_LOC_ARGS = 100
NAME_LENGTH = 256
URL_LENGTH = 2048
COLLAPSE_KEY_BYTES = 64

_RESERVED_DATA = re.compile(r"(bellhop|google|gcm).*|aps|from|message_type", re.DOTALL)
_RESERVED_PAYLOAD = ("aps", "bellhop")
_SPACE_OR_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_SHOWN_BY_SILENT = ("title", "subtitle", "body", "image_url", "sound")


def validate_send(found: Findings, request: notes.SendRequest) -> None:
    """Notes everything that is wrong with a SendRequest."""
    found.pattern("request_id", request.request_id, VISIBLE_ASCII, "1 to 128 visible ASCII characters")
    found.pattern("message_id", request.message_id, MESSAGE_ID, "[A-Za-z0-9_-]{1,64}")
    if found.required("audience", request.HasField("audience")):
        _audience(found, request.audience)
    if found.required("notification", request.HasField("notification")):
        _notification(found, request.notification)
    options = request.options
    found.duration("options.ttl", options.ttl, MAX_TTL)
    found.enum("options.priority", options.priority, message_pb2.Priority.DESCRIPTOR)
    if options.HasField("schedule_time"):
        found.schedule("options.schedule_time", options.schedule_time, MAX_AHEAD)
    found.enum("options.resend", options.resend, message_pb2.ResendPolicy.DESCRIPTOR)
    found.enum("result_filter", request.result_filter, event_pb2.ResultFilter.DESCRIPTOR)
    if request.accept_only and request.validate_only:
        found.add("validate_only", "contradicts accept_only")


def _audience(found: Findings, audience: message_pb2.Audience) -> None:
    match audience.WhichOneof("to"):
        case "users":
            path = "audience.users.user_ids"
            if found.required(path, bool(audience.users.user_ids)):
                found.user_ids(path, audience.users.user_ids)
        case "devices":
            path = "audience.devices.device_ids"
            if found.required(path, bool(audience.devices.device_ids)):
                found.device_ids(path, audience.devices.device_ids)
        case None:
            found.add("audience.to", "is required")
    found.enums("audience.platforms", audience.platforms, device_pb2.Platform.DESCRIPTOR)
    found.user_ids("audience.exclude_user_ids", audience.exclude_user_ids)


def _notification(found: Findings, notification: message_pb2.Notification) -> None:
    carries = ("title", "body", "sound", "silent", "data")
    if not any(getattr(notification, name) for name in carries) and not (
        notification.HasField("badge") or notification.apns.ByteSize()
    ):
        found.add("notification", "carries nothing: needs title, body, sound, badge, silent, data or apns")
    _url(found, "notification.image_url", notification.image_url, scheme="https")
    _url(found, "notification.link", notification.link)
    found.text("notification.sound", notification.sound, NAME_LENGTH)
    if notification.badge < 0:
        found.add("notification.badge", "must not be negative")
    found.text("notification.category", notification.category, NAME_LENGTH)
    found.text("notification.thread_id", notification.thread_id, NAME_LENGTH)
    _collapse_key(found, "notification.collapse_key", notification.collapse_key)
    if notification.silent:
        for name in _SHOWN_BY_SILENT:
            if getattr(notification, name):
                found.add(f"notification.{name}", "would be shown, but the notification is silent")
        if notification.HasField("badge"):
            found.add("notification.badge", "would be shown, but the notification is silent")
    found.string_map("notification.data", notification.data, MAX_DATA, None)
    for key in sorted(notification.data):
        if _RESERVED_DATA.fullmatch(key):
            found.add(entry("notification.data", key), "is a reserved key")
    if notification.HasField("apns"):
        _apns(found, notification.apns)
        _push_type(found, notification)


def _url(found: Findings, path: str, value: str, scheme: str = "") -> None:
    """An absolute URI (RFC 3986 section 4.3), of that scheme and with a host where one is named."""
    if not value:
        return
    found.text(path, value, URL_LENGTH)
    try:
        parts = urlsplit(value)
        whole = bool(parts.scheme) and (not scheme or (parts.scheme == scheme and bool(parts.hostname)))
    except ValueError:
        whole = False
    if not whole or _SPACE_OR_CONTROL.search(value):
        found.add(path, f"is not an absolute {scheme or 'URI'}{' URL' if scheme else ''}")


def _collapse_key(found: Findings, path: str, value: str) -> None:
    if len(value.encode()) > COLLAPSE_KEY_BYTES:
        found.add(path, f"has more than {COLLAPSE_KEY_BYTES} bytes")
    else:
        found.text(path, value, COLLAPSE_KEY_BYTES, controls=False)


def _apns(found: Findings, apns: message_pb2.ApnsOverride) -> None:
    path = "notification.apns"
    for name in ("title_loc_key", "loc_key", "launch_image"):
        found.text(f"{path}.{name}", getattr(apns, name), NAME_LENGTH)
    for key, args in (("title_loc_key", apns.title_loc_args), ("loc_key", apns.loc_args)):
        at = f"{path}.{key.removesuffix('key')}args"
        found.count(at, len(args), MAX_LOC_ARGS)
        if args and not getattr(apns, key):
            found.add(at, f"needs {key}")
    found.enum(f"{path}.push_type", apns.push_type, message_pb2.ApnsPushType.DESCRIPTOR)
    found.duration(f"{path}.ttl", apns.ttl, MAX_TTL)
    _collapse_key(found, f"{path}.collapse_key", apns.collapse_key)
    found.enum(f"{path}.priority", apns.priority, message_pb2.Priority.DESCRIPTOR)
    _json(found, f"{path}.payload", apns.payload)
    for key in _RESERVED_PAYLOAD:
        if key in apns.payload.fields:
            found.add(entry(f"{path}.payload", key), "is a reserved key")
    _json(found, f"{path}.aps", apns.aps)
    for key, value in sorted(apns.aps.fields.items()):
        check = _APS.get(key)
        if check is not None:
            description = check(value)
            if description:
                found.add(entry(f"{path}.aps", key), description)


def _push_type(found: Findings, notification: message_pb2.Notification) -> None:
    """What goes against the push type. Neutral texts do not: on APNs a background push leaves them out."""
    path, apns = "notification.apns", notification.apns
    background = apns.push_type == message_pb2.APNS_PUSH_TYPE_BACKGROUND
    if notification.silent and apns.push_type == message_pb2.APNS_PUSH_TYPE_ALERT:
        found.add(f"{path}.push_type", "would be shown, but the notification is silent")
    if notification.silent or background:
        why = "would be shown, but the notification is " + ("silent" if notification.silent else "a background push")
        for name in ("title", "body", "title_loc_key", "loc_key", "launch_image"):
            if getattr(apns, name):
                found.add(f"{path}.{name}", why)
        for key in ("alert", "badge", "sound"):
            if key in apns.aps.fields:
                found.add(entry(f"{path}.aps", key), why)
    if apns.push_type == message_pb2.APNS_PUSH_TYPE_LIVE_ACTIVITY:
        event = apns.aps.fields["event"].string_value if "event" in apns.aps.fields else ""
        for key in ("timestamp", "event", *_OF_LIVE_ACTIVITY.get(event, ())):
            if key not in apns.aps.fields:
                found.add(entry(f"{path}.aps", key), "is required for a Live Activity")


def _json(found: Findings, path: str, struct: Struct) -> None:
    for key, value in sorted(struct.fields.items()):
        _json_value(found, entry(path, key), value)


def _json_value(found: Findings, path: str, value: Value) -> None:
    match value.WhichOneof("kind"):
        case None:
            found.add(path, "has no value")
        case "number_value" if not math.isfinite(value.number_value):
            found.add(path, "is not a number of JSON")
        case "struct_value":
            _json(found, path, value.struct_value)
        case "list_value":
            for index, each in enumerate(value.list_value.values):
                _json_value(found, f"{path}[{index}]", each)


# Keys of `aps` that an event of a Live Activity needs beside `timestamp` and `event`.
_OF_LIVE_ACTIVITY = {"start": ("attributes-type", "attributes", "content-state", "alert"), "update": ("content-state",)}

# What Apple documents for keys of `aps` (Generating a remote notification; Starting and updating Live Activities with
# ActivityKit push notifications). Each returns what is wrong, or nothing.


def _is_text(value: Value) -> str:
    return "" if value.HasField("string_value") else "is not a text"


def _is_number(value: Value) -> str:
    return "" if value.HasField("number_value") else "is not a number"


def _is_whole(value: Value) -> str:
    return "" if value.HasField("number_value") and value.number_value.is_integer() else "is not a whole number"


def _is_object(value: Value) -> str:
    return "" if value.HasField("struct_value") else "is not an object"


def _is_text_or_object(value: Value) -> str:
    return "" if value.HasField("string_value") or value.HasField("struct_value") else "is neither a text nor an object"


def _is_flag(value: Value) -> str:
    is_flag = value.HasField("bool_value") or (value.HasField("number_value") and value.number_value in (0, 1))
    return "" if is_flag else "is neither 0 nor 1"


def _is_one_of(*words: str) -> Callable[[Value], str]:
    def check(value: Value) -> str:
        return "" if value.HasField("string_value") and value.string_value in words else f"is none of {joined(words)}"

    return check


def _is_badge(value: Value) -> str:
    return _is_whole(value) or ("must not be negative" if value.number_value < 0 else "")


def _is_sound(value: Value) -> str:
    if value.HasField("string_value"):
        return ""
    if not value.HasField("struct_value"):
        return "is neither a text nor an object"
    fields: Mapping[str, Value] = value.struct_value.fields
    checks = {"critical": _is_flag, "name": _is_text, "volume": _is_number}
    for key, check in checks.items():
        if key in fields and check(fields[key]):
            return f"{key} {check(fields[key])}"
    if "volume" in fields and not 0 <= fields["volume"].number_value <= 1:
        return "volume is not from 0 to 1"
    return ""


_APS: dict[str, Callable[[Value], str]] = {
    "alert": _is_text_or_object,
    "badge": _is_badge,
    "sound": _is_sound,
    "thread-id": _is_text,
    "category": _is_text,
    "content-available": _is_flag,
    "mutable-content": _is_flag,
    "target-content-id": _is_text,
    "interruption-level": _is_one_of("passive", "active", "time-sensitive", "critical"),
    "relevance-score": _is_number,
    "filter-criteria": _is_text,
    "timestamp": _is_whole,
    "stale-date": _is_whole,
    "dismissal-date": _is_whole,
    "event": _is_one_of("start", "update", "end"),
    "content-state": _is_object,
    "attributes-type": _is_text,
    "attributes": _is_object,
    "input-push-channel": _is_text,
    "input-push-token": _is_flag,
    "content-changed": _is_flag,
}

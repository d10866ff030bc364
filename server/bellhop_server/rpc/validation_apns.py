"""The rules of what a notification says for APNs alone."""

from collections.abc import Mapping

from google.protobuf.struct_pb2 import Value

from bellhop.v1 import message_pb2
from bellhop_server.rpc.json_rules import (
    Check,
    is_count,
    is_flag,
    is_number,
    is_object,
    is_one_of,
    is_text,
    is_text_or_object,
    is_whole,
    json_object,
    known_keys,
)
from bellhop_server.rpc.rules import NAME_LENGTH, Findings, entry

MAX_LOC_ARGS = 100

_PATH = "notification.apns"
_RESERVED_PAYLOAD = ("aps", "bellhop")


def validate_apns(found: Findings, notification: message_pb2.Notification) -> None:
    """Notes everything that is wrong with `notification.apns`."""
    apns = notification.apns
    for name in ("title_loc_key", "loc_key", "launch_image"):
        found.text(f"{_PATH}.{name}", getattr(apns, name), NAME_LENGTH)
    for key, args in (("title_loc_key", apns.title_loc_args), ("loc_key", apns.loc_args)):
        at = f"{_PATH}.{key.removesuffix('key')}args"
        found.count(at, len(args), MAX_LOC_ARGS)
        if args and not getattr(apns, key):
            found.add(at, f"needs {key}")
    found.enum(f"{_PATH}.push_type", apns.push_type, message_pb2.ApnsPushType.DESCRIPTOR)
    found.handling(_PATH, apns)
    json_object(found, f"{_PATH}.payload", apns.payload)
    for key in _RESERVED_PAYLOAD:
        if key in apns.payload.fields:
            found.add(entry(f"{_PATH}.payload", key), "is a reserved key")
    json_object(found, f"{_PATH}.aps", apns.aps)
    known_keys(found, f"{_PATH}.aps", apns.aps, _APS)
    _push_type(found, notification)


def _push_type(found: Findings, notification: message_pb2.Notification) -> None:
    """What goes against the push type. Neutral texts do not: on APNs a background push leaves them out."""
    apns = notification.apns
    background = apns.push_type == message_pb2.APNS_PUSH_TYPE_BACKGROUND
    if notification.silent and apns.push_type == message_pb2.APNS_PUSH_TYPE_ALERT:
        found.add(f"{_PATH}.push_type", "would be shown, but the notification is silent")
    if notification.silent or background:
        why = "would be shown, but the notification is " + ("silent" if notification.silent else "a background push")
        for name in ("title", "body", "title_loc_key", "loc_key", "launch_image"):
            if getattr(apns, name):
                found.add(f"{_PATH}.{name}", why)
        for key in ("alert", "badge", "sound"):
            if key in apns.aps.fields:
                found.add(entry(f"{_PATH}.aps", key), why)
    if apns.push_type == message_pb2.APNS_PUSH_TYPE_LIVE_ACTIVITY:
        event = apns.aps.fields["event"].string_value if "event" in apns.aps.fields else ""
        for key in ("timestamp", "event", *_OF_LIVE_ACTIVITY.get(event, ())):
            if key not in apns.aps.fields:
                found.add(entry(f"{_PATH}.aps", key), "is required for a Live Activity")


# Keys of `aps` that an event of a Live Activity needs beside `timestamp` and `event`.
_OF_LIVE_ACTIVITY = {"start": ("attributes-type", "attributes", "content-state", "alert"), "update": ("content-state",)}


def _is_sound(value: Value) -> str:
    if value.HasField("string_value"):
        return ""
    if not value.HasField("struct_value"):
        return "is neither a text nor an object"
    fields: Mapping[str, Value] = value.struct_value.fields
    checks = {"critical": is_flag, "name": is_text, "volume": is_number}
    for key, check in checks.items():
        if key in fields and check(fields[key]):
            return f"{key} {check(fields[key])}"
    if "volume" in fields and not 0 <= fields["volume"].number_value <= 1:
        return "volume is not from 0 to 1"
    return ""


# What Apple documents for keys of `aps` (Generating a remote notification; Starting and updating Live Activities with
# ActivityKit push notifications).
_APS: dict[str, Check] = {
    "alert": is_text_or_object,
    "badge": is_count,
    "sound": _is_sound,
    "thread-id": is_text,
    "category": is_text,
    "content-available": is_flag,
    "mutable-content": is_flag,
    "target-content-id": is_text,
    "interruption-level": is_one_of("passive", "active", "time-sensitive", "critical"),
    "relevance-score": is_number,
    "filter-criteria": is_text,
    "timestamp": is_whole,
    "stale-date": is_whole,
    "dismissal-date": is_whole,
    "event": is_one_of("start", "update", "end"),
    "content-state": is_object,
    "attributes-type": is_text,
    "attributes": is_object,
    "input-push-channel": is_text,
    "input-push-token": is_flag,
    "content-changed": is_flag,
}

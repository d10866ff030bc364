"""The rules of what a notification says for FCM alone."""

import re

from google.protobuf.struct_pb2 import Value

from bellhop.v1 import message_pb2
from bellhop_server.rpc.json_rules import (
    Check,
    is_count,
    is_like,
    is_object,
    is_one_of,
    is_text,
    is_texts,
    is_truth,
    json_object,
    known_keys,
)
from bellhop_server.rpc.rules import MAX_DATA, NAME_LENGTH, Findings, entry

_PATH = "notification.fcm"
# FCM refuses some of them (REST reference, Message.data); `bellhop` is ours.
_RESERVED_DATA = re.compile(r"(bellhop|google|gcm).*|from|message_type", re.DOTALL)
_COLOR = re.compile(r"#[0-9A-Fa-f]{6}")
_DURATION = re.compile(r"[0-9]{1,7}(\.[0-9]{1,9})?s")


def validate_fcm(found: Findings, notification: message_pb2.Notification) -> None:
    """Notes everything that is wrong with `notification.fcm`."""
    fcm = notification.fcm
    found.string_map(f"{_PATH}.data", fcm.data, MAX_DATA, None)
    for key in sorted(filter(_RESERVED_DATA.fullmatch, fcm.data)):
        found.add(entry(f"{_PATH}.data", key), "is a reserved key")
    for name in ("channel_id", "icon"):
        found.text(f"{_PATH}.{name}", getattr(fcm, name), NAME_LENGTH)
    found.pattern(f"{_PATH}.color", fcm.color, _COLOR, "#rrggbb")
    found.handling(_PATH, fcm)
    json_object(found, f"{_PATH}.android", fcm.android)
    known_keys(found, f"{_PATH}.android", fcm.android, _ANDROID, _spelt)
    if "notification" in fcm.android.fields:
        at = entry(f"{_PATH}.android", "notification")
        known_keys(found, at, fcm.android.fields["notification"].struct_value, _ANDROID_NOTIFICATION, _spelt)
    if notification.silent:
        for name in ("title", "body"):
            if getattr(fcm, name):
                found.add(f"{_PATH}.{name}", "would be shown, but the notification is silent")
        if "notification" in fcm.android.fields:
            found.add(entry(f"{_PATH}.android", "notification"), "would be shown, but the notification is silent")


def _spelt(key: str) -> str:
    """FCM reads `channelId` as `channel_id`."""
    return re.sub("[A-Z]", lambda upper: f"_{upper[0].lower()}", key)


def _is_data(value: Value) -> str:
    if not value.HasField("struct_value") or any(map(is_text, value.struct_value.fields.values())):
        return "is not an object of texts"
    reserved = sorted(filter(_RESERVED_DATA.fullmatch, value.struct_value.fields))
    return f"{reserved[0]} is a reserved key" if reserved else ""


# The REST reference of FCM's HTTP v1 API: AndroidConfig, AndroidNotification.
_ANDROID: dict[str, Check] = {
    "collapse_key": is_text,
    "priority": is_one_of("NORMAL", "HIGH", "normal", "high"),
    "ttl": is_like(_DURATION, "seconds such as 3.5s"),
    "restricted_package_name": is_text,
    "data": _is_data,
    "notification": is_object,
    "fcm_options": is_object,
    "direct_boot_ok": is_truth,
    "bandwidth_constrained_ok": is_truth,
    "restricted_satellite_ok": is_truth,
}
_ANDROID_NOTIFICATION: dict[str, Check] = {
    **dict.fromkeys(
        ("title", "body", "icon", "sound", "tag", "click_action", "channel_id", "image", "ticker"), is_text
    ),
    **dict.fromkeys(("body_loc_key", "title_loc_key", "event_time"), is_text),
    **dict.fromkeys(("body_loc_args", "title_loc_args", "vibrate_timings"), is_texts),
    **dict.fromkeys(("sticky", "local_only", "default_sound"), is_truth),
    **dict.fromkeys(("default_vibrate_timings", "default_light_settings"), is_truth),
    "color": is_like(_COLOR, "#rrggbb"),
    "light_settings": is_object,
    "notification_count": is_count,
}

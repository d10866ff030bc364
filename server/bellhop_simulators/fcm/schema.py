"""The fields of FCM's v1 API ("REST Resource: projects.messages"), by their kind."""

from bellhop_simulators.fcm.kinds import (
    DURATION,
    FLAG,
    FLOAT,
    INT32,
    STRUCT,
    TEXT,
    TIMESTAMP,
    Kind,
    Listed,
    Record,
    TextMap,
    choice,
)

_V1 = "type.googleapis.com/google.firebase.fcm.v1."

TARGETS = frozenset({"token", "fid", "topic", "condition"})

_LABELLED: dict[str, Kind] = {"analytics_label": TEXT}
_COLOR = Record("type.googleapis.com/google.type.Color", dict.fromkeys(("red", "green", "blue", "alpha"), FLOAT))
_LIGHTS = Record(
    f"{_V1}LightSettings", {"color": _COLOR, "light_on_duration": DURATION, "light_off_duration": DURATION}
)
_PRIORITIES = (
    "PRIORITY_UNSPECIFIED",
    "PRIORITY_MIN",
    "PRIORITY_LOW",
    "PRIORITY_DEFAULT",
    "PRIORITY_HIGH",
    "PRIORITY_MAX",
)
_ANDROID_NOTIFICATION_FIELDS: dict[str, Kind] = {
    **dict.fromkeys(("title", "body", "icon", "color", "sound", "tag", "click_action", "channel_id", "image"), TEXT),
    **dict.fromkeys(("body_loc_key", "title_loc_key", "ticker"), TEXT),
    **dict.fromkeys(("body_loc_args", "title_loc_args"), Listed(TEXT)),
    **dict.fromkeys(("sticky", "local_only", "default_sound", "default_vibrate_timings"), FLAG),
    **dict.fromkeys(("default_light_settings", "bypass_proxy_notification"), FLAG),
    "event_time": TIMESTAMP,
    "notification_priority": choice(f"{_V1}AndroidNotification.NotificationPriority", *_PRIORITIES),
    "vibrate_timings": Listed(DURATION),
    "light_settings": _LIGHTS,
    "visibility": choice(
        f"{_V1}AndroidNotification.Visibility", "VISIBILITY_UNSPECIFIED", "PRIVATE", "PUBLIC", "SECRET"
    ),
    "notification_count": INT32,
    "proxy": choice(f"{_V1}AndroidNotification.Proxy", "PROXY_UNSPECIFIED", "ALLOW", "DENY", "IF_PRIORITY_LOWERED"),
}
_ANDROID_FIELDS: dict[str, Kind] = {
    "collapse_key": TEXT,
    "ttl": DURATION,
    "restricted_package_name": TEXT,
    "data": TextMap(),
    "fcm_options": Record(f"{_V1}AndroidFcmOptions", _LABELLED),
    **dict.fromkeys(("direct_boot_ok", "bandwidth_constrained_ok", "restricted_satellite_ok"), FLAG),
}
_ANDROID = Record(
    f"{_V1}AndroidConfig",
    {
        **_ANDROID_FIELDS,
        "priority": choice(f"{_V1}AndroidConfig.AndroidMessagePriority", "NORMAL", "HIGH"),
        "notification": Record(f"{_V1}AndroidNotification", _ANDROID_NOTIFICATION_FIELDS),
    },
)
_REMOTE_NOTIFICATION = Record(
    f"{_V1}RemoteNotification",
    {
        "notification": Record(f"{_V1}AndroidNotificationV2", _ANDROID_NOTIFICATION_FIELDS),
        "mutable_content": FLAG,
        "use_as_v1_data_message": FLAG,
    },
)
_ANDROID_V2 = Record(
    f"{_V1}AndroidConfigV2",
    {
        **_ANDROID_FIELDS,
        "remote_notification": _REMOTE_NOTIFICATION,
        "background_sync": Record(f"{_V1}BackgroundSync", {}),
    },
    {"type": frozenset({"remote_notification", "background_sync"})},
)
_APNS = Record(
    f"{_V1}ApnsConfig",
    {
        "headers": TextMap(),
        "payload": STRUCT,
        "fcm_options": Record(f"{_V1}ApnsFcmOptions", {**_LABELLED, "image": TEXT}),
        "live_activity_token": TEXT,
    },
)
_WEBPUSH = Record(
    f"{_V1}WebpushConfig",
    {
        "headers": TextMap(),
        "data": TextMap(),
        "notification": STRUCT,
        "fcm_options": Record(f"{_V1}WebpushFcmOptions", {**_LABELLED, "link": TEXT}),
    },
)
_MESSAGE = Record(
    f"{_V1}Message",
    {
        **dict.fromkeys(("name", *TARGETS), TEXT),
        "data": TextMap(),
        "notification": Record(f"{_V1}Notification", dict.fromkeys(("title", "body", "image"), TEXT)),
        "android": _ANDROID,
        "android_v2": _ANDROID_V2,
        "apns": _APNS,
        "webpush": _WEBPUSH,
        "fcm_options": Record(f"{_V1}FcmOptions", _LABELLED),
    },
    {"target": TARGETS, "android_config": frozenset({"android", "android_v2"})},
)
SEND_REQUEST = Record(f"{_V1}SendMessageRequest", {"message": _MESSAGE, "validate_only": FLAG})
"""The body of messages:send."""

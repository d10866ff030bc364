"""The rules of a send: what a notification may say, to whom, and how it is handled."""

import re
from datetime import timedelta

from bellhop.v1 import device_pb2, event_pb2, message_pb2
from bellhop.v1 import notifier_pb2 as notes
from bellhop_server.rpc.rules import MAX_DATA, MAX_TTL, MESSAGE_ID, NAME_LENGTH, VISIBLE_ASCII, Findings, entry
from bellhop_server.rpc.validation_apns import validate_apns
from bellhop_server.rpc.validation_fcm import validate_fcm
from bellhop_server.rpc.validation_web_push import validate_web_push

MAX_AHEAD = timedelta(days=90)
MAX_EXPLAINED = 1000
MAX_SENDS = 500

_RESERVED_DATA = re.compile(r"(bellhop|google|gcm).*|aps|from|message_type", re.DOTALL)
_SHOWN_BY_SILENT = ("title", "subtitle", "body", "image_url", "sound")


def validate_send(found: Findings, request: notes.SendRequest) -> None:
    """Notes everything that is wrong with a SendRequest."""
    found.pattern("request_id", request.request_id, VISIBLE_ASCII, "1 to 128 visible ASCII characters")
    found.pattern("message_id", request.message_id, MESSAGE_ID, "[A-Za-z0-9_-]{1,64}")
    _content(found, request)
    found.enum("result_filter", request.result_filter, event_pb2.ResultFilter.DESCRIPTOR)
    if request.accept_only and request.validate_only:
        found.add("validate_only", "contradicts accept_only")


def validate_send_many(found: Findings, request: notes.SendManyRequest) -> None:
    """Notes what is wrong with a SendManyRequest itself; each of its items is looked at by itself."""
    if not 1 <= len(request.sends) <= MAX_SENDS:
        found.add("sends", f"has {len(request.sends)} items, not 1 to {MAX_SENDS}")


def validate_explain_send(found: Findings, request: notes.ExplainSendRequest) -> None:
    """Notes everything that is wrong with an ExplainSendRequest."""
    _content(found, request)
    if not 0 <= request.max_devices <= MAX_EXPLAINED:
        found.add("max_devices", f"is not from 1 to {MAX_EXPLAINED}")


def _content(found: Findings, request: notes.SendRequest | notes.ExplainSendRequest) -> None:
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
        case "tags":
            path = "audience.tags.tag_names"
            if found.required(path, bool(audience.tags.tag_names)):
                found.tag_names(path, audience.tags.tag_names)
        case None:
            found.add("audience.to", "is required")
    found.enums("audience.platforms", audience.platforms, device_pb2.Platform.DESCRIPTOR)
    found.user_ids("audience.exclude_user_ids", audience.exclude_user_ids)


def _notification(found: Findings, notification: message_pb2.Notification) -> None:
    carries = ("title", "body", "sound", "silent", "data")
    overrides = (notification.apns, notification.fcm, notification.web_push)
    if not any(getattr(notification, name) for name in carries) and not (
        notification.HasField("badge") or any(override.ByteSize() for override in overrides)
    ):
        what = "title, body, sound, badge, silent, data, apns, fcm or web_push"
        found.add("notification", f"carries nothing: needs {what}")
    found.url("notification.image_url", notification.image_url, scheme="https")
    found.url("notification.link", notification.link)
    found.text("notification.sound", notification.sound, NAME_LENGTH)
    if notification.badge < 0:
        found.add("notification.badge", "must not be negative")
    found.text("notification.category", notification.category, NAME_LENGTH)
    found.text("notification.thread_id", notification.thread_id, NAME_LENGTH)
    found.collapse_key("notification.collapse_key", notification.collapse_key)
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
        validate_apns(found, notification)
    if notification.HasField("fcm"):
        validate_fcm(found, notification)
    if notification.HasField("web_push"):
        validate_web_push(found, notification)

"""The rules of targets, credentials and overrides of FCM and Web Push, and of ExplainSend."""

import base64
import math
from typing import Any

import pytest
from google.protobuf.message import Message

from bellhop.v1 import applications_pb2 as apps
from bellhop.v1 import device_pb2, message_pb2
from bellhop.v1 import notifier_pb2 as notes
from bellhop.v1 import push_registry_pb2 as reg
from bellhop_server.domain.errors import InvalidRequest
from bellhop_server.rpc.validation import validate

POINT = b"\x04" + bytes(range(192, 256))
AUTH = bytes(range(240, 256))


def text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode()


def fcm_device(**fields: str) -> reg.RegisterDeviceRequest:
    return reg.RegisterDeviceRequest(user_id="anna", fcm=device_pb2.FcmTarget(**fields))


def browser(**changes: str) -> reg.RegisterDeviceRequest:
    fields = {"endpoint": "https://push.example.org/wpush/v2/gAAAA", "p256dh": text(POINT), "auth": text(AUTH)}
    return reg.RegisterDeviceRequest(user_id="anna", web_push=device_pb2.WebPushTarget(**{**fields, **changes}))


def fcm_credential(**changes: str) -> apps.SetCredentialRequest:
    fields = {"service_account_json": "{}"}
    return apps.SetCredentialRequest(app_id="shop", fcm=apps.FcmCredential(**{**fields, **changes}))


def vapid(**changes: Any) -> apps.SetCredentialRequest:
    fields: dict[str, Any] = {"generate": apps.GenerateVapidKey(), "subject": "mailto:ops@example.org"}
    return apps.SetCredentialRequest(app_id="shop", web_push=apps.WebPushCredential(**{**fields, **changes}))


def notification(**fields: Any) -> notes.SendRequest:
    audience = message_pb2.Audience(everyone=message_pb2.Everyone())
    return notes.SendRequest(audience=audience, notification=message_pb2.Notification(**fields))


def fcm(**fields: Any) -> notes.SendRequest:
    return notification(fcm=message_pb2.FcmOverride(**fields))


def android(**fields: Any) -> notes.SendRequest:
    return fcm(android=fields)


def shown(**fields: Any) -> notes.SendRequest:
    return fcm(android={"notification": fields})


def web_push(**fields: Any) -> notes.SendRequest:
    return notification(web_push=message_pb2.WebPushOverride(**fields))


def explain(**changes: Any) -> notes.ExplainSendRequest:
    sent = notification(title="Hello")
    fields = {"audience": sent.audience, "notification": sent.notification}
    return notes.ExplainSendRequest(**{**fields, **changes})


def violations(request: Message) -> list[str]:
    try:
        validate(request)
    except InvalidRequest as refused:
        return [each.field for each in refused.violations]
    return []


@pytest.mark.parametrize(
    "request_",
    [
        fcm_device(token="dK3:APA91b-_" + "x" * 4084),
        fcm_device(fid="cXYZ" + "_" * 252),
        browser(),
        browser(endpoint="https://wns2-db5p.notify.windows.com/w/?token=BQY%2bA&x=" + "y" * 1990),
        browser(p256dh=base64.b64encode(POINT).decode(), auth=base64.b64encode(AUTH).decode().rstrip("=")),
        browser(vapid_public_key=text(POINT).rstrip("=")),
        reg.RegisterAnonymousDeviceRequest(target_nonce="n" * 128),
        reg.UpdateDeviceRequest(device_id="d1", target_nonce="n"),
        fcm_credential(service_account_json="x" * 32_768, sender_id="9" * 20),
        vapid(),
        vapid(vapid_private_key="-----BEGIN PRIVATE KEY-----", allow_key_change=True),
        fcm(data_only=True),
        fcm(title="", ttl={}),
        fcm(data={"k" * 64: "v" * 5000}, color="#09aFAf", priority=message_pb2.PRIORITY_HIGH),
        android(priority="HIGH", ttl="3.5s", direct_boot_ok=True, data={"k": "v"}, unheard_of=[1]),
        android(directBootOk=False, collapseKey="c"),
        shown(tag="t", sticky=True, title_loc_args=["a"], color="#000000", notification_count=0),
        notification(silent=True, fcm=message_pb2.FcmOverride(data={"k": "v"}, android={"direct_boot_ok": True})),
        web_push(raw_payload="x" * 3993),
        web_push(raw_payload="{}", title="", options={}),
        web_push(title="t", options={"actions": [{"action": "a"}], "requireInteraction": True}),
        explain(max_devices=1000),
        explain(options=message_pb2.SendOptions(ttl={"seconds": 60})),
    ],
)
def test_what_is_right_passes(request_: Message) -> None:
    assert violations(request_) == []


@pytest.mark.parametrize(
    ("request_", "paths"),
    [
        (fcm_device(), ["fcm.address"]),
        (fcm_device(token=""), ["fcm.token"]),
        (fcm_device(token="a b"), ["fcm.token"]),
        (fcm_device(token="a\n"), ["fcm.token"]),
        (fcm_device(token="x" * 4097), ["fcm.token"]),
        (fcm_device(fid=""), ["fcm.fid"]),
        (fcm_device(fid="c:d"), ["fcm.fid"]),
        (fcm_device(fid="x" * 257), ["fcm.fid"]),
        (
            reg.UpdateDeviceRequest(device_id="d1", web_push=device_pb2.WebPushTarget()),
            ["web_push.endpoint", "web_push.p256dh", "web_push.auth"],
        ),
        (browser(endpoint="http://push.example.org/x"), ["web_push.endpoint"]),
        (browser(endpoint="push.example.org/x"), ["web_push.endpoint"]),
        (browser(endpoint="https:///x"), ["web_push.endpoint"]),
        (browser(endpoint="https://push.example.org/ä"), ["web_push.endpoint"]),
        (browser(endpoint="https://push.example.org/" + "x" * 2024), ["web_push.endpoint"]),
        (browser(p256dh=text(POINT[:-1])), ["web_push.p256dh"]),
        (browser(p256dh=text(b"\x02" + POINT[1:])), ["web_push.p256dh"]),
        (browser(p256dh="*" * 88), ["web_push.p256dh"]),
        (browser(auth=text(AUTH + b"x")), ["web_push.auth"]),
        (browser(auth=text(AUTH)[:-3]), ["web_push.auth"]),
        (browser(vapid_public_key=text(POINT + b"x")), ["web_push.vapid_public_key"]),
        (reg.RegisterAnonymousDeviceRequest(target_nonce="n" * 129), ["target_nonce"]),
        (reg.UpdateDeviceRequest(device_id="d1", target_nonce="n" * 129), ["target_nonce"]),
        (fcm_credential(service_account_json="", sender_id="1a"), ["fcm.service_account_json", "fcm.sender_id"]),
        (
            fcm_credential(service_account_json="x" * 32_769, sender_id="1" * 21),
            ["fcm.service_account_json", "fcm.sender_id"],
        ),
        (fcm_credential(sender_id="١٢"), ["fcm.sender_id"]),
        (
            apps.SetCredentialRequest(app_id="shop", web_push=apps.WebPushCredential()),
            ["web_push.key", "web_push.subject"],
        ),
        (vapid(vapid_private_key=""), ["web_push.vapid_private_key"]),
        (vapid(vapid_private_key="x" * 4097), ["web_push.vapid_private_key"]),
        (vapid(subject="m" * 257), ["web_push.subject"]),
        (vapid(subject="mailto:a@b\n"), ["web_push.subject"]),
        (notification(fcm=message_pb2.FcmOverride(), web_push=message_pb2.WebPushOverride()), ["notification"]),
        (
            fcm(data={"bellhop_x": "", "google.y": "", "gcm": "", "from": "", "message_type": "", "aps": ""}),
            [f'notification.fcm.data["{key}"]' for key in ("bellhop_x", "from", "gcm", "google.y", "message_type")],
        ),
        (fcm(data={"a b": ""}), ['notification.fcm.data["a b"]']),
        (fcm(data={f"k{index}": "" for index in range(101)}), ["notification.fcm.data"]),
        (
            fcm(channel_id="c" * 257, icon="i" * 257, color="red"),
            ["notification.fcm.channel_id", "notification.fcm.icon", "notification.fcm.color"],
        ),
        (
            fcm(ttl={"seconds": 28 * 86400 + 1}, collapse_key="ä" * 33, priority=9),
            ["notification.fcm.ttl", "notification.fcm.collapse_key", "notification.fcm.priority"],
        ),
        (android(priority="URGENT"), ['notification.fcm.android["priority"]']),
        (android(ttl="3600"), ['notification.fcm.android["ttl"]']),
        (android(ttl=3600), ['notification.fcm.android["ttl"]']),
        (android(data={"k": 1}), ['notification.fcm.android["data"]']),
        (android(data={"google.k": "1"}), ['notification.fcm.android["data"]']),
        (
            android(notification="x", directBootOk="yes"),
            [f'notification.fcm.android["{key}"]' for key in ("directBootOk", "notification")],
        ),
        (android(x={"y": math.nan}), ['notification.fcm.android["x"]["y"]']),
        (shown(color="red"), ['notification.fcm.android["notification"]["color"]']),
        (shown(notificationCount=-1), ['notification.fcm.android["notification"]["notificationCount"]']),
        (shown(body_loc_args=[1]), ['notification.fcm.android["notification"]["body_loc_args"]']),
        (
            notification(silent=True, fcm=message_pb2.FcmOverride(title="t", android={"notification": {}})),
            ["notification.fcm.title", 'notification.fcm.android["notification"]'],
        ),
        (web_push(options={"data": [math.inf]}), ['notification.web_push.options["data"][0]']),
        (web_push(raw_payload="ä" * 1997), ["notification.web_push.raw_payload"]),
        (
            web_push(raw_payload="{}", title="t", body="b", options={"tag": "x"}),
            [f"notification.web_push.{name}" for name in ("title", "body", "options")],
        ),
        (
            web_push(title="t", ttl={"seconds": -1}, priority=9, collapse_key="a\tb"),
            [f"notification.web_push.{name}" for name in ("ttl", "collapse_key", "priority")],
        ),
        (
            notification(silent=True, web_push=message_pb2.WebPushOverride(title="t", body="b")),
            ["notification.web_push.title", "notification.web_push.body"],
        ),
        (notes.ExplainSendRequest(max_devices=1001), ["audience", "notification", "max_devices"]),
        (explain(max_devices=-1), ["max_devices"]),
    ],
)
def test_what_is_wrong_is_told_by_its_path_and_all_at_once(request_: Message, paths: list[str]) -> None:
    assert violations(request_) == paths

"""The rules of a target. Whether its point is on the curve and its host one to call is its provider's to say."""

import re

from bellhop.v1 import device_pb2
from bellhop.v1 import push_registry_pb2 as reg
from bellhop_server.rpc import base64url
from bellhop_server.rpc.rules import HEX, TOPIC, Findings

TOKEN_DIGITS = 512
TOPIC_DESCRIPTION = "a bundle id: [A-Za-z0-9.-]{1,255}"

_FCM_TOKEN = re.compile(r"[!-~]{1,4096}")
_FID = re.compile(r"[A-Za-z0-9_-]{1,256}")
_VISIBLE = re.compile(r"[!-~]*")
_POINT_BYTES = 65
_UNCOMPRESSED = 4  # The first byte of a point that is written out (SEC 1 section 2.3.3).
_AUTH_BYTES = 16


def validate_target(
    found: Findings,
    request: reg.RegisterDeviceRequest | reg.RegisterAnonymousDeviceRequest | reg.UpdateDeviceRequest,
) -> None:
    """Notes everything that is wrong with where a device is found, if the request says that."""
    match request.WhichOneof("target"):
        case "apns":
            _apns(found, request.apns)
        case "fcm":
            _fcm(found, request.fcm)
        case "web_push":
            _web_push(found, request.web_push)


def _apns(found: Findings, apns: device_pb2.ApnsTarget) -> None:
    token = apns.token
    if found.required("apns.token", bool(token)) and (
        not HEX.fullmatch(token) or len(token) % 2 or len(token) > TOKEN_DIGITS
    ):
        found.add("apns.token", f"is not an even number of hexadecimal digits, 2 to {TOKEN_DIGITS}")
    found.pattern("apns.topic", apns.topic, TOPIC, TOPIC_DESCRIPTION)
    found.enum("apns.environment", apns.environment, device_pb2.ApnsEnvironment.DESCRIPTOR)


def _fcm(found: Findings, fcm: device_pb2.FcmTarget) -> None:
    match fcm.WhichOneof("address"):
        case "token":
            found.required_pattern("fcm.token", fcm.token, _FCM_TOKEN, "1 to 4096 visible ASCII characters")
        case "fid":
            found.required_pattern("fcm.fid", fcm.fid, _FID, "[A-Za-z0-9_-]{1,256}")
        case None:
            found.add("fcm.address", "is required")


def _web_push(found: Findings, web_push: device_pb2.WebPushTarget) -> None:
    if found.required("web_push.endpoint", bool(web_push.endpoint)):
        found.url("web_push.endpoint", web_push.endpoint, scheme="https")
        if not _VISIBLE.fullmatch(web_push.endpoint):
            found.add("web_push.endpoint", "has a character that no URL has")
    if found.required("web_push.p256dh", bool(web_push.p256dh)):
        _point(found, "web_push.p256dh", web_push.p256dh)
    if found.required("web_push.auth", bool(web_push.auth)):
        raw = base64url.decode(web_push.auth)
        if raw is None or len(raw) != _AUTH_BYTES:
            found.add("web_push.auth", f"is not base64url of {_AUTH_BYTES} bytes")
    if web_push.vapid_public_key:
        _point(found, "web_push.vapid_public_key", web_push.vapid_public_key)


def _point(found: Findings, path: str, text: str) -> None:
    raw = base64url.decode(text)
    if raw is None or len(raw) != _POINT_BYTES or raw[0] != _UNCOMPRESSED:
        found.add(path, f"is not base64url of an uncompressed point on P-256, {_POINT_BYTES} bytes")

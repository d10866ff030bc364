"""Where a device is found: messages of the contract to the domain's target. What is mapped has been validated."""

from bellhop.v1 import device_pb2
from bellhop.v1 import push_registry_pb2 as reg
from bellhop_server.domain.device import ApnsEnvironment, Platform, Target
from bellhop_server.rpc import base64url


def target_of(
    request: reg.RegisterDeviceRequest | reg.RegisterAnonymousDeviceRequest | reg.UpdateDeviceRequest,
) -> Target | None:
    """Where a device is found, in normal form; None: the request does not say."""
    match request.WhichOneof("target"):
        case "apns":
            environment = ApnsEnvironment(request.apns.environment) if request.apns.environment else None
            return Target(Platform.APNS, request.apns.token.lower(), request.apns.topic, environment)
        case "fcm":
            fid = request.fcm.fid
            return Target(Platform.FCM, fid or request.fcm.token, supplement="fid" if fid else "")
        case "web_push":
            return _web_push(request.web_push)
        case None:
            return None


def _web_push(target: device_pb2.WebPushTarget) -> Target:
    return Target(
        Platform.WEB_PUSH,
        target.endpoint,
        supplement=f"{_normal(target.p256dh)}.{_normal(target.auth)}",
        vapid_public_key=_normal(target.vapid_public_key),
    )


def _normal(text: str) -> str:
    raw = base64url.decode(text)
    assert raw is not None
    return base64url.encode(raw)

"""Targets, credentials and explanations of every network, from the contract to the domain and back."""

import base64
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellhop.v1 import applications_pb2 as apps
from bellhop.v1 import device_pb2, message_pb2
from bellhop.v1 import notifier_pb2 as notes
from bellhop.v1 import push_registry_pb2 as reg
from bellhop_server.app.explaining import Explained
from bellhop_server.domain.application import (
    ApnsCredential,
    Credential,
    FcmCredential,
    FcmOffer,
    ProbeResult,
    ProviderSecret,
    VapidKey,
    WebPushCredential,
    WebPushOffer,
)
from bellhop_server.domain.delivery import ProviderRequest
from bellhop_server.domain.device import ApnsEnvironment, Platform, Target
from bellhop_server.domain.message import Outcome
from bellhop_server.rpc import base64url, mapping_message
from bellhop_server.rpc.mapping_credential import credential, offer_of
from bellhop_server.rpc.mapping_target import target_of

AT = 1_800_000_000_123_456

# Bytes whose text differs between the two alphabets of base64.
POINT = b"\x04" + bytes(range(192, 256))
AUTH = b"\xfb\xff\xbe" * 5 + b"\xff"


def web_push(**changes: str) -> reg.RegisterDeviceRequest:
    fields = {
        "endpoint": "https://updates.push.services.mozilla.com/wpush/v2/gAAAA?x=%2F&y",
        "p256dh": base64url.encode(POINT),
        "auth": base64url.encode(AUTH),
    }
    return reg.RegisterDeviceRequest(web_push=device_pb2.WebPushTarget(**{**fields, **changes}))


def test_an_apple_device() -> None:
    request = reg.RegisterDeviceRequest(apns={"token": "ABcd", "topic": "com.x", "environment": 1})
    assert target_of(request) == Target(Platform.APNS, "abcd", "com.x", ApnsEnvironment.SANDBOX)
    assert target_of(reg.RegisterDeviceRequest(apns={"token": "ab"})) == Target(Platform.APNS, "ab")
    assert target_of(reg.RegisterDeviceRequest()) is None


def test_what_firebase_reaches_is_kept_as_it_is_and_with_its_kind() -> None:
    token = reg.RegisterAnonymousDeviceRequest(fcm=device_pb2.FcmTarget(token="dK:APA91b_Zz"))
    assert target_of(token) == Target(Platform.FCM, "dK:APA91b_Zz")
    installation = reg.UpdateDeviceRequest(device_id="d1", fcm=device_pb2.FcmTarget(fid="cXYZ"))
    assert target_of(installation) == Target(Platform.FCM, "cXYZ", supplement="fid")


def test_a_browser_keeps_its_endpoint_byte_for_byte() -> None:
    target = target_of(web_push())
    assert target is not None
    assert target.address == "https://updates.push.services.mozilla.com/wpush/v2/gAAAA?x=%2F&y"
    assert target.supplement == f"{base64url.encode(POINT)}.{base64url.encode(AUTH)}"
    assert (target.platform, target.vapid_public_key) == (Platform.WEB_PUSH, "")


@pytest.mark.parametrize("write", [base64.b64encode, base64.urlsafe_b64encode])
def test_keys_of_a_browser_have_one_form_however_they_were_written(write: Callable[[bytes], bytes]) -> None:
    given_ = web_push(p256dh=write(POINT).decode(), auth=write(AUTH).decode(), vapid_public_key=write(POINT).decode())
    key = base64url.encode(POINT)
    assert target_of(given_) == target_of(web_push(vapid_public_key=key))
    assert not set("+/=") & set(key)


@given(st.binary(max_size=80))
def test_base64_of_either_alphabet_is_read(raw: bytes) -> None:
    plain, urlsafe = base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()
    for text in (plain, urlsafe, plain.rstrip("="), urlsafe.rstrip("=")):
        assert base64url.decode(text) == raw
    assert base64url.encode(raw) == urlsafe.rstrip("=")


@pytest.mark.parametrize("text", ["a", "abcde", "ab\n", "a b", "ä", "ab===", "a=b", "ab*d"])
def test_what_is_no_base64_is_none(text: str) -> None:
    assert base64url.decode(text) is None


@pytest.mark.parametrize(
    ("request_", "offer"),
    [
        (
            apps.SetCredentialRequest(fcm={"service_account_json": "{}", "sender_id": "17"}),
            FcmOffer("{}", "17"),
        ),
        (
            apps.SetCredentialRequest(web_push={"generate": {}, "subject": "mailto:a@example.org"}),
            WebPushOffer("", "mailto:a@example.org"),
        ),
        (
            apps.SetCredentialRequest(web_push={"vapid_private_key": "PEM", "subject": "s", "allow_key_change": True}),
            WebPushOffer("PEM", "s", allow_key_change=True),
        ),
        (
            apps.SetCredentialRequest(
                apns={"key": {"key_id": "K", "team_id": "T", "p8": "P"}, "topics": ["x"], "environments": [2]}
            ),
            ApnsCredential("K", "T", "P", ("x",), (ApnsEnvironment.PRODUCTION,)),
        ),
    ],
)
def test_what_an_operator_has_becomes_an_offer(request_: apps.SetCredentialRequest, offer: object) -> None:
    assert offer_of(request_) == offer


@pytest.mark.parametrize(
    ("secret", "shown"),
    [
        (
            ApnsCredential("KEY1234567", "TEAM123456", "PRIVATE", ("com.x",), (ApnsEnvironment.SANDBOX,)),
            apps.Credential(
                apns={"key_id": "KEY1234567", "team_id": "TEAM123456", "topics": ["com.x"], "environments": [1]}
            ),
        ),
        (
            FcmCredential("shop-1", "bell@shop-1.example", "kid-PRIVATE", "PRIVATE", "42"),
            apps.Credential(fcm={"project_id": "shop-1", "client_email": "bell@shop-1.example", "sender_id": "42"}),
        ),
        (
            WebPushCredential((VapidKey("BNew", "PRIVATE"), VapidKey("BOld", "PRIVATE")), "mailto:a@example.org"),
            apps.Credential(web_push={"vapid_public_key": "BNew", "subject": "mailto:a@example.org"}),
        ),
    ],
)
def test_a_credential_is_shown_without_its_secret(secret: ProviderSecret, shown: apps.Credential) -> None:
    told = credential(Credential("shop", "c1", Platform.FCM, 3, AT, secret, ProbeResult(False, "TimeOut", AT)))
    assert "PRIVATE" not in str(told)
    assert (told.credential_id, told.platform, told.update_time.ToMicroseconds()) == ("c1", 2, AT)
    assert (told.probe.ok, told.probe.reason, told.probe.probe_time.ToMicroseconds()) == (False, "TimeOut", AT)
    detail = told.WhichOneof("detail")
    assert detail is not None
    assert getattr(told, detail) == getattr(shown, detail)


def test_a_credential_that_was_never_tried_has_no_probe() -> None:
    secret = FcmCredential("p", "e", "k", "PRIVATE")
    assert not credential(Credential("shop", "fcm", Platform.FCM, 1, AT, secret)).HasField("probe")


def test_explanations() -> None:
    request = ProviderRequest("https://x", {"ttl": "60"}, "{}", 105, 4096)
    shown = mapping_message.explanation(Explained("d1", "anna", Platform.WEB_PUSH, request=request))
    assert shown == notes.ExplainSendResponse(
        device_id="d1",
        user_id="anna",
        platform=device_pb2.PLATFORM_WEB_PUSH,
        request={"url": "POST https://x", "headers": {"ttl": "60"}, "body": "{}", "body_size": 105, "body_limit": 4096},
    )
    missing = mapping_message.explanation(Explained("", "ben", None, withheld=Outcome.NOT_REGISTERED))
    assert (missing.user_id, missing.platform, missing.withheld) == ("ben", 0, message_pb2.OUTCOME_NOT_REGISTERED)

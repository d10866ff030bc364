"""VAPID as the simulated push services check it."""

import itertools
import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from bellhop_simulators.clock import ManualClock
from bellhop_simulators.webpush import base64url
from bellhop_simulators.webpush.apple import is_real_subject
from bellhop_simulators.webpush.vapid import VapidFault, VapidTokens
from bellhop_simulators.webpush.vapid_key import VapidKey

ORIGIN = "https://push.example.net"
NOW = 1_800_000_000.0
KEY = VapidKey(ManualClock(NOW))
OTHER = VapidKey(ManualClock(NOW))


def fault_of(authorization: str | None, crypto_key: str | None = None, now: float = NOW) -> VapidFault | None:
    return VapidTokens().check(authorization, crypto_key, ORIGIN, now).fault


def signed(**claims: object) -> str:
    return KEY.authorization(ORIGIN + "/x", **claims)


def token(**claims: object) -> str:
    return signed(**claims).removeprefix("vapid t=").partition(",")[0]


def test_a_good_one_tells_key_and_subject() -> None:
    vapid = VapidTokens().check(signed(), None, ORIGIN, NOW)

    assert vapid.fault is None
    assert vapid.public_key == base64url.decode(KEY.public_key)
    assert vapid.subject == "mailto:push@example.com"


def test_it_is_read_loosely() -> None:
    standard = KEY.public_key.replace("-", "+").replace("_", "/") + "="
    for authorization in (
        f"vapid t={token()},k={KEY.public_key}",
        f"Vapid  k={KEY.public_key} ,  t={token()}",
        f"VAPID k={standard}, t={token()}",
        f'vapid t="{token()}", k="{KEY.public_key}", v=1',
    ):
        assert fault_of(authorization) is None, authorization
    assert fault_of(f"WebPush {token()}", f"p256ecdsa={KEY.public_key}") is None
    assert fault_of(f"Bearer {token()}", f"dh=abc;p256ecdsa={KEY.public_key}") is None


@pytest.mark.parametrize(
    ("authorization", "fault"),
    [
        (None, VapidFault.MISSING),
        ("", VapidFault.UNREADABLE),
        ("vapid", VapidFault.UNREADABLE),
        ("Basic dXNlcg==", VapidFault.UNREADABLE),
        (f"vapid k={KEY.public_key}", VapidFault.UNREADABLE),
        (f"vapid t={token()}", VapidFault.NO_KEY),
        (f"WebPush {token()}", VapidFault.NO_KEY),
        (f"vapid t={token()}, k=%%%", VapidFault.BAD_KEY),
        (f"vapid t={token()}, k={KEY.public_key[:-4]}", VapidFault.BAD_KEY),
        (f"vapid t={token()}, k={base64url.encode(bytes([4]) + bytes(64))}", VapidFault.BAD_KEY),
        (f"vapid t=x.y.z, k={KEY.public_key}", VapidFault.NO_JWT),
        (f"vapid t={jwt.encode({'aud': ORIGIN}, 'x' * 32, 'HS256')}, k={KEY.public_key}", VapidFault.NO_JWT),
        (f"vapid t={token()}, k={OTHER.public_key}", VapidFault.SIGNATURE),
        (signed(aud=None), VapidFault.AUDIENCE),
        (signed(aud=ORIGIN + "/"), VapidFault.AUDIENCE),
        (signed(aud="https://other.example.net"), VapidFault.AUDIENCE),
        (signed(aud=[ORIGIN]), VapidFault.AUDIENCE),
        (signed(exp=None), VapidFault.NO_EXPIRY),
        (signed(exp=str(NOW + 60)), VapidFault.NO_EXPIRY),
        (signed(exp=True), VapidFault.NO_EXPIRY),
        (signed(exp=float("nan")), VapidFault.NO_EXPIRY),
        (signed(exp=float("inf")), VapidFault.NO_EXPIRY),
        (signed(exp=NOW), VapidFault.EXPIRED),
        (signed(exp=NOW + 1), None),
        (signed(exp=NOW + 86_400), None),
        (signed(exp=NOW + 86_401), VapidFault.TOO_LONG),
        (signed(sub=None), None),
    ],
    ids=itertools.count(),
)
def test_what_is_refused(authorization: str | None, fault: VapidFault | None) -> None:
    assert fault_of(authorization) is fault


def test_a_token_that_is_known_still_expires() -> None:
    tokens, authorization = VapidTokens(), signed()

    assert tokens.check(authorization, None, ORIGIN, NOW).fault is None
    assert tokens.check(authorization, None, "https://other", NOW).fault is VapidFault.AUDIENCE
    assert tokens.check(authorization, None, ORIGIN, NOW + 43_201).fault is VapidFault.EXPIRED


def test_another_curve_is_no_signature() -> None:
    body = {"aud": ORIGIN, "exp": int(NOW + 60)}
    other_curve = jwt.encode(body, ec.generate_private_key(ec.SECP384R1()), algorithm="ES384")
    assert fault_of(f"vapid t={other_curve}, k={KEY.public_key}") is VapidFault.NO_JWT
    unsigned = jwt.encode(body, "", algorithm="none")
    assert fault_of(f"vapid t={unsigned}, k={KEY.public_key}") is VapidFault.NO_JWT
    listed = jwt.api_jws.encode(json.dumps([1]).encode(), KEY.private_key, algorithm="ES256")
    assert fault_of(f"vapid t={listed}, k={KEY.public_key}") is VapidFault.NO_JWT


@pytest.mark.parametrize(
    ("subject", "real"),
    [
        ("mailto:push@example.com", True),
        ("https://example.com", True),
        ("https://example.com:8443/contact?x=1", True),
        ("MAILTO:push@EXAMPLE.com", True),
        (None, False),
        ("", False),
        ("push@example.com", False),
        ("http://example.com", False),
        ("mailto:", False),
        ("mailto:push@localhost", False),
        ("mailto:push@mac.local", False),
        ("https://localhost", False),
        ("https://app.localhost/", False),
        ("mailto: push@example.com", False),
        ("mailto:push@example.com ", False),
        ("mailto:<push@example.com>", False),
        ("mailto:push@example.com\n", False),
        ("tel:123", False),
    ],
)
def test_apple_wants_a_real_subject(subject: str | None, real: bool) -> None:
    assert is_real_subject(subject) is real

"""Encryption of a push: the vector of RFC 8291 section 5, an independent library that decrypts, and bad keys."""

import base64
import itertools
import os

import http_ece
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from bellhop_server.providers.webpush import base64url
from bellhop_server.providers.webpush.encryption import (
    LARGEST_BODY,
    LARGEST_PLAINTEXT,
    OVERHEAD,
    encrypt,
    recipient,
    seal,
)

# RFC 8291 section 5 and appendix A.
PLAINTEXT = b"When I grow up, I want to be a watermelon"
P256DH = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
AUTH = "BTBZMqHH6r4Tts7J_aSIgg"
AS_PRIVATE = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
SALT = "DGv6ra1nlYgDCS1FRnbzlw"
BODY = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl"
    "7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)

BROWSER = ec.generate_private_key(ec.SECP256R1())
BROWSER_POINT = BROWSER.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
BROWSER_AUTH = bytes(range(16))
TO = recipient(base64url.encode(BROWSER_POINT), base64url.encode(BROWSER_AUTH))


def decrypt(body: bytes) -> bytes:
    return http_ece.decrypt(body, private_key=BROWSER, auth_secret=BROWSER_AUTH, version="aes128gcm")


def test_the_vector_of_the_rfc() -> None:
    key = ec.derive_private_key(int.from_bytes(base64url.decode(AS_PRIVATE), "big"), ec.SECP256R1())

    body = seal(PLAINTEXT, recipient(P256DH, AUTH), key, base64url.decode(SALT))

    assert base64url.encode(body) == BODY
    assert len(body) == 144


@given(st.binary(max_size=LARGEST_PLAINTEXT))
def test_a_browser_reads_what_was_written(plaintext: bytes) -> None:
    body = encrypt(plaintext, TO)

    assert decrypt(body) == plaintext
    assert len(body) == len(plaintext) + OVERHEAD


def test_one_record_of_4096_with_a_header_of_86() -> None:
    body = encrypt(b"x", TO)

    assert body[16:20] == (4096).to_bytes(4, "big")
    assert body[20] == 65
    assert body[21] == 4
    assert len(body) == 86 + 1 + 1 + 16


def test_the_largest() -> None:
    body = encrypt(os.urandom(LARGEST_PLAINTEXT), TO)

    assert LARGEST_PLAINTEXT == 3993
    assert len(body) == LARGEST_BODY == 4096
    with pytest.raises(ValueError, match="3993"):
        encrypt(bytes(LARGEST_PLAINTEXT + 1), TO)


def test_no_two_messages_share_key_or_salt() -> None:
    bodies = [encrypt(b"same", TO) for _ in range(50)]

    assert len({body[:16] for body in bodies}) == 50
    assert len({body[21:86] for body in bodies}) == 50


@pytest.mark.parametrize("octets", [BROWSER_POINT, b"\xfb\xff\xfe" * 21 + b"ab"], ids=["a point", "both letters"])
def test_either_alphabet_with_and_without_padding(octets: bytes) -> None:
    ordinary = base64.b64encode(octets).decode()
    url = base64.urlsafe_b64encode(octets).decode()

    for text in (ordinary, ordinary.rstrip("="), url, url.rstrip("=")):
        assert base64url.decode(text) == octets
    assert base64url.encode(octets) == url.rstrip("=")


@given(st.binary(max_size=100))
def test_base64url_round_trip(octets: bytes) -> None:
    assert base64url.decode(base64url.encode(octets)) == octets


@pytest.mark.parametrize("text", ["a", "ab cd", "abc\n", "ab=cd", "äbcd", "ab!d", "abcde", "\0" * 4])
def test_what_is_no_base64(text: str) -> None:
    with pytest.raises(ValueError):
        base64url.decode(text)


def of(octets: bytes) -> str:
    return base64url.encode(octets)


@pytest.mark.parametrize(
    ("p256dh", "auth", "says"),
    [
        ("", AUTH, "p256dh is not of 65 bytes"),
        ("!!!!", AUTH, "p256dh is not base64url"),
        (of(BROWSER_POINT[:64]), AUTH, "p256dh is not of 65 bytes"),
        (of(BROWSER_POINT + b"\0"), AUTH, "p256dh is not of 65 bytes"),
        # Compressed and hybrid points, and infinity.
        (of(b"\2" + BROWSER_POINT[1:33]), AUTH, "p256dh is not of 65 bytes"),
        (of(b"\6" + BROWSER_POINT[1:]), AUTH, "p256dh is not an uncompressed point"),
        (of(b"\0" * 65), AUTH, "p256dh is not an uncompressed point"),
        # Off the curve, and beyond the field.
        (of(BROWSER_POINT[:-1] + bytes([BROWSER_POINT[-1] ^ 1])), AUTH, "p256dh is not a point on P-256"),
        (of(b"\4" + b"\0" * 64), AUTH, "p256dh is not a point on P-256"),
        (of(b"\4" + b"\xff" * 64), AUTH, "p256dh is not a point on P-256"),
        (P256DH, "", "auth is not of 16 bytes"),
        (P256DH, of(bytes(15)), "auth is not of 16 bytes"),
        (P256DH, of(bytes(17)), "auth is not of 16 bytes"),
        (P256DH, "?" * 22, "auth is not base64url"),
        (P256DH * 1000, AUTH, "p256dh is not"),
    ],
    ids=itertools.count(),
)
def test_keys_that_are_none(p256dh: str, auth: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        recipient(p256dh, auth)

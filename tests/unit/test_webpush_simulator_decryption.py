"""The simulated browser decrypts what RFC 8291 and an independent library encrypt, and says what it cannot read."""

import os
from itertools import pairwise

import http_ece
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from bellhop_simulators.webpush import base64url
from bellhop_simulators.webpush.decryption import UndecryptableError, decrypt, public_bytes, public_key, sender_key

# RFC 8291, section 5 and appendix A.
PLAINTEXT = b"When I grow up, I want to be a watermelon"
BROWSER_PRIVATE = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"
BROWSER_PUBLIC = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
AUTH = "BTBZMqHH6r4Tts7J_aSIgg"
SENDER_PUBLIC = "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8"
BODY = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_y"
    "l95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)

BROWSER = ec.derive_private_key(int.from_bytes(base64url.decode(BROWSER_PRIVATE), "big"), ec.SECP256R1())
SECRET = base64url.decode(AUTH)
VECTOR = base64url.decode(BODY)


def encrypted(data: bytes, *, rs: int = 4096, auth: bytes = SECRET) -> bytes:
    sender = ec.generate_private_key(ec.SECP256R1())
    body: bytes = http_ece.encrypt(
        data, private_key=sender, dh=public_bytes(BROWSER.public_key()), auth_secret=auth, rs=rs, version="aes128gcm"
    )
    return body


def test_the_vector_of_the_rfc() -> None:
    assert base64url.encode(public_bytes(BROWSER.public_key())) == BROWSER_PUBLIC
    assert len(VECTOR) == 144
    assert sender_key(VECTOR) == base64url.decode(SENDER_PUBLIC)
    assert decrypt(VECTOR, BROWSER, SECRET) == PLAINTEXT


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=1, max_size=3993))  # Of nothing, that library makes no record at all.
def test_what_an_independent_library_encrypts(data: bytes) -> None:
    assert decrypt(encrypted(data), BROWSER, SECRET) == data


def test_padding_and_trailing_zeros_are_told_apart() -> None:
    assert decrypt(encrypted(b"\0\2\0\0"), BROWSER, SECRET) == b"\0\2\0\0"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "0 octets"),
        (VECTOR[:20], "20 octets"),
        (VECTOR[:16] + (17).to_bytes(4, "big") + VECTOR[20:], "record size 17"),
        (VECTOR[:20] + b"\0" + VECTOR[21:], "no P-256 point"),
        (VECTOR[:21] + b"\2" + VECTOR[22:], "begin with 4"),
        (VECTOR[:21] + b"\4" + b"\1" * 64 + VECTOR[86:], "no P-256 point"),
        (VECTOR[:40], "no P-256 point"),
        (VECTOR[:86], "holds no octet"),
        (VECTOR[:102], "holds no octet"),
        (VECTOR[:-1], "authentication tag"),
        (VECTOR[:-1] + b"\0", "authentication tag"),
        (bytes(16) + VECTOR[16:], "authentication tag"),
        (VECTOR[:16] + (57).to_bytes(4, "big") + VECTOR[20:], "more than one record"),
        (encrypted(b"x" * 200, rs=100), "more than one record"),
        (encrypted(b"for another", auth=bytes(16)), "authentication tag"),
    ],
)
def test_what_cannot_be_read_says_why(body: bytes, reason: str) -> None:
    with pytest.raises(UndecryptableError, match=reason):
        decrypt(body, BROWSER, SECRET)


def test_a_record_that_is_not_the_last_is_not_taken() -> None:
    # The first record of two ends with the delimiter 1.
    whole = encrypted(b"x" * 100, rs=100)
    with pytest.raises(UndecryptableError, match="delimiter"):
        decrypt(whole[: 86 + 100], BROWSER, SECRET)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_octets_are_refused_in_order(body: bytes) -> None:
    with pytest.raises(UndecryptableError):
        decrypt(body, BROWSER, SECRET)


def test_points_and_base64url() -> None:
    octets = os.urandom(65)
    for length, longer in pairwise(range(20)):
        assert base64url.decode(base64url.encode(octets[:length])) == octets[:length]
        assert len(base64url.encode(octets[:longer])) > len(base64url.encode(octets[:length]))
    assert base64url.decode("-_8=") == base64url.decode("+/8") == b"\xfb\xff"
    for wrong in ("a", "a b", "ä", "a\n", "aaaaa"):
        with pytest.raises(ValueError):
            base64url.decode(wrong)
    for wrong_point in (b"", octets[:64], b"\4" + bytes(64), b"\3" + octets[:32]):
        with pytest.raises(ValueError):
            public_key(wrong_point)

"""VAPID: keys, whom to write to, and tokens that live half a day."""

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from bellhop_server.domain import SECOND, Micros
from bellhop_server.domain.application import VapidKey
from bellhop_server.providers.webpush import base64url
from bellhop_server.providers.webpush.vapid import LIFETIME, KeyRefused, VapidTokens, generate, load, subject_problem

# The example of RFC 8292 section 2.4.
RFC_KEY = "BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs"
RFC_TOKEN = (
    "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJhdWQiOiJodHRwczovL3B1c2guZXhhbXBsZS5uZXQiLCJleHAiOjE0NTM1MjM3NjgsInN1"
    "YiI6Im1haWx0bzpwdXNoQGV4YW1wbGUuY29tIn0.i3CYb7t4xfxCDquptFOepC9GAu_HLGkMlMuCGSK2rpiUfnK9ojFwDXb1JrErtmysazNjjvW2"
    "L9OkSSHzvoD1oA"
)

ORIGIN = "https://push.example.net"
SUBJECT = "mailto:push@example.com"
KEY = generate()
NOW = 1_800_000_000


class HeldClock:
    def __init__(self) -> None:
        self.wall: Micros = NOW * SECOND
        self.elapsed = 0.0

    def now(self) -> Micros:
        return self.wall

    def monotonic(self) -> float:
        return self.elapsed

    async def sleep(self, seconds: float) -> None:
        self.move(seconds)

    def move(self, seconds: float) -> None:
        self.wall += int(seconds * SECOND)
        self.elapsed += seconds


def point_of(key: VapidKey) -> ec.EllipticCurvePublicKey:
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), base64url.decode(key.public_key))


def claims(header: bytes, key: VapidKey) -> dict[str, object]:
    """As a push service reads it, with the public key in the header alone."""
    scheme, t, k = header.decode().split(" ")
    assert scheme == "vapid"
    token = t.removeprefix("t=").removesuffix(",")
    assert k == f"k={key.public_key}"
    assert jwt.get_unverified_header(token) == {"typ": "JWT", "alg": "ES256"}
    options = {"verify_exp": False, "verify_aud": False}
    return jwt.decode(token, point_of(key), algorithms=["ES256"], options=options)


def test_the_example_of_the_rfc_reads_as_ours_do() -> None:
    known = VapidKey(RFC_KEY, "")

    told = claims(f"vapid t={RFC_TOKEN}, k={RFC_KEY}".encode(), known)

    assert told == {"aud": "https://push.example.net", "exp": 1453523768, "sub": "mailto:push@example.com"}


def test_a_token_says_where_until_when_and_who() -> None:
    header = VapidTokens(HeldClock()).authorization(KEY, SUBJECT, ORIGIN)

    assert claims(header, KEY) == {"aud": ORIGIN, "exp": NOW + 12 * 3600, "sub": SUBJECT}


def test_one_token_for_each_key_subject_and_origin() -> None:
    tokens, other = VapidTokens(HeldClock()), generate()

    headers = {
        (key, subject, origin): tokens.authorization(key, subject, origin)
        for key in (KEY, other)
        for subject in (SUBJECT, "https://example.com/contact")
        for origin in (ORIGIN, f"{ORIGIN}:8443")
    }

    assert len(set(headers.values())) == 8
    for (key, subject, origin), header in headers.items():
        assert tokens.authorization(key, subject, origin) == header
        assert claims(header, key) == {"aud": origin, "exp": NOW + LIFETIME, "sub": subject}


def test_a_token_is_renewed_long_before_its_end_and_not_before_half_its_time() -> None:
    clock = HeldClock()
    tokens = VapidTokens(clock)
    first = tokens.authorization(KEY, SUBJECT, ORIGIN)

    clock.move(6 * 3600 - 1)
    assert tokens.authorization(KEY, SUBJECT, ORIGIN) == first
    clock.move(1)
    second = tokens.authorization(KEY, SUBJECT, ORIGIN)
    assert claims(second, KEY)["exp"] == NOW + 18 * 3600
    clock.move(3600)
    assert tokens.authorization(KEY, SUBJECT, ORIGIN) == second


def test_a_young_token_is_kept_for_an_hour_while_it_is_good() -> None:
    clock = HeldClock()
    tokens = VapidTokens(clock)
    first = tokens.authorization(KEY, SUBJECT, ORIGIN)

    # Wall time only: the clock was set seven hours ahead, and five hours are still left.
    clock.wall += 7 * 3600 * SECOND
    assert tokens.authorization(KEY, SUBJECT, ORIGIN) == first
    clock.elapsed += 3600
    assert tokens.authorization(KEY, SUBJECT, ORIGIN) != first


@pytest.mark.parametrize("jump", [12 * 3600, 13 * 3600, -3600, -10 * 24 * 3600])
def test_a_clock_that_was_set_makes_a_useless_token_a_new_one(jump: int) -> None:
    clock = HeldClock()
    tokens = VapidTokens(clock)
    tokens.authorization(KEY, SUBJECT, ORIGIN)

    clock.wall += jump * SECOND

    assert claims(tokens.authorization(KEY, SUBJECT, ORIGIN), KEY)["exp"] == NOW + jump + LIFETIME


def test_a_clock_that_trembles_makes_none() -> None:
    clock = HeldClock()
    tokens = VapidTokens(clock)
    first = tokens.authorization(KEY, SUBJECT, ORIGIN)

    clock.wall -= 2 * SECOND

    assert tokens.authorization(KEY, SUBJECT, ORIGIN) == first


def test_a_generated_key_is_a_pair_on_p256() -> None:
    point = base64url.decode(KEY.public_key)

    assert len(point) == 65
    assert len(KEY.public_key) == 87
    assert point[0] == 4
    assert load(KEY.private_key) == KEY
    assert generate() != generate()
    assert "PRIVATE" not in repr(KEY)


def pem_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def test_a_key_may_be_packed_the_older_way() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    older = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()

    assert "EC PRIVATE KEY" in older
    assert load(older) == load(pem_of(key)) == load(f"\n{older}\n")


P256 = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    ("pem", "says"),
    [
        ("", "not a readable private key"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "not a readable private key"),
        ("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw", "not a readable private key"),
        (pem_of(ec.generate_private_key(ec.SECP384R1())), "not a key on the curve P-256"),
        (pem_of(rsa.generate_private_key(65537, 2048)), "not a key on the curve P-256"),
        (pem_of(ed25519.Ed25519PrivateKey.generate()), "not a key on the curve P-256"),
        (
            P256.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
            "is a public key",
        ),
        (
            P256.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")).decode(),
            "is encrypted",
        ),
        ("-----BEGIN PRIVATE KEY-----\n" + "é" * 40, "not a readable private key"),
    ],
)
def test_keys_that_cannot_be_used(pem: str, says: str) -> None:
    with pytest.raises(KeyRefused, match=says) as refused:
        load(pem)

    assert all(line not in str(refused.value) for line in pem.splitlines() if len(line) > 20)


@pytest.mark.parametrize(
    "subject",
    [
        "mailto:push@example.com",
        "mailto:first.last+tag@sub.example.co.uk",
        "mailto:push@xn--bcher-kva.example",
        "https://example.com",
        "https://example.com/contact?of=push#us",
        "https://example.com:8443/",
        "https://EXAMPLE.com",
    ],
)
def test_subjects_that_apple_takes(subject: str) -> None:
    assert subject_problem(subject) == ""


@pytest.mark.parametrize(
    ("subject", "says"),
    [
        ("", "neither mailto: with one address nor an https: URL"),
        ("push@example.com", "neither"),
        ("mailto:", "neither"),
        ("mailto:push", "neither"),
        ("mailto:@example.com", "neither"),
        ("mailto:a@b@example.com", "neither"),
        ("mailto:a@example.com,b@example.com", "neither"),
        ("mailto:a@example.com?subject=x", "neither"),
        ("mailto: push@example.com", "space or angle"),
        ("mailto:<push@example.com>", "space or angle"),
        ("mailto:push@example.com\n", "printable"),
        ("mailto:pusch@bücher.example", "printable"),
        ("mailto:push@localhost", "no domain"),
        ("mailto:push@printer.local", "no domain"),
        ("mailto:push@app.localhost", "no domain"),
        ("mailto:push@host.localdomain", "no domain"),
        ("mailto:push@example.com.", "no domain"),
        ("mailto:push@.example.com", "no domain"),
        ("mailto:push@127.0.0.1", "no domain"),
        ("http://example.com", "neither"),
        ("https://", "neither"),
        ("https://localhost", "no domain"),
        ("https://localhost:8443/x", "no domain"),
        ("https://10.0.0.1/", "no domain"),
        ("https://[::1]/", "neither"),
        ("https://user@example.com/", "neither"),
        ("tel:+123", "neither"),
        ("mailto:" + "a" * 250 + "@example.com", "more than 256"),
    ],
)
def test_subjects_that_apple_refuses(subject: str, says: str) -> None:
    assert says in subject_problem(subject)

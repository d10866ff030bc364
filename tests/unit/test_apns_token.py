"""Provider tokens: what is in them, how long they last, and keys that are none."""

import asyncio
from dataclasses import replace

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from bellhop_server.domain import SECOND, Micros
from bellhop_server.domain.application import ApnsCredential
from bellhop_server.domain.device import ApnsEnvironment
from bellhop_server.providers.apns.token import ProviderToken, ProviderTokens, check_key

MINUTE = 60.0
START = 1_800_000_000.0
PLAIN = serialization.NoEncryption()
PKCS8 = serialization.PrivateFormat.PKCS8
KEY = ec.generate_private_key(ec.SECP256R1())


def pem(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    form: serialization.PrivateFormat = PKCS8,
    encryption: serialization.KeySerializationEncryption = PLAIN,
) -> str:
    return key.private_bytes(serialization.Encoding.PEM, form, encryption).decode()


CREDENTIAL = ApnsCredential("KEY1234567", "TEAM123456", pem(KEY), ("com.example.shop",))


class TwoHands:
    """A clock whose hands a test moves apart."""

    def __init__(self) -> None:
        self.wall = START
        self.steady = 1000.0

    def now(self) -> Micros:
        return int(self.wall * SECOND)

    def monotonic(self) -> float:
        return self.steady

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


@pytest.fixture
def clock() -> TwoHands:
    return TwoHands()


@pytest.fixture
def token(clock: TwoHands) -> ProviderToken:
    return ProviderToken(CREDENTIAL, clock)


def issued(text: str) -> int:
    iat: int = jwt.decode(text, options={"verify_signature": False})["iat"]
    return iat


def test_what_it_says(token: ProviderToken) -> None:
    text = token.current()

    claims = jwt.decode(text, KEY.public_key(), algorithms=["ES256"], options={"verify_iat": False})
    assert claims.keys() == {"iss", "iat"}
    assert claims["iss"] == "TEAM123456"
    assert isinstance(claims["iat"], int)
    assert START - 30 <= claims["iat"] <= START
    assert jwt.get_unverified_header(text)["kid"] == "KEY1234567"
    assert jwt.get_unverified_header(text)["alg"] == "ES256"


def test_it_is_renewed_after_forty_minutes(token: ProviderToken, clock: TwoHands) -> None:
    first = token.current()
    clock.advance(39 * MINUTE)
    assert token.current() == first
    clock.advance(1 * MINUTE)
    second = token.current()
    assert second != first
    assert issued(second) >= issued(first) + 40 * 60
    assert token.current() == second


def test_one_refused_as_expired_is_renewed_but_not_within_twenty_minutes(token: ProviderToken, clock: TwoHands) -> None:
    first = token.current()
    clock.advance(19 * MINUTE)
    token.expired()
    assert token.current() == first
    clock.advance(1 * MINUTE)
    token.expired()
    second = token.current()
    assert second != first
    token.expired()
    assert token.current() == second


def test_a_clock_that_jumps_back_leaves_no_token_from_the_future(token: ProviderToken, clock: TwoHands) -> None:
    first = token.current()
    clock.wall -= 7200
    assert issued(token.current()) == issued(first) - 7200


def test_a_clock_that_jumps_ahead_leaves_no_token_from_the_past(token: ProviderToken, clock: TwoHands) -> None:
    first = token.current()
    clock.wall += 7200
    assert issued(token.current()) == issued(first) + 7200


@pytest.mark.parametrize("step", [-5.0, 5.0, 45 * MINUTE])
def test_smaller_jumps_make_no_two_tokens_within_twenty_minutes(
    token: ProviderToken, clock: TwoHands, step: float
) -> None:
    first = token.current()
    clock.wall += step
    assert token.current() == first


def test_a_clock_that_stands_still_does_not_keep_it_for_ever(token: ProviderToken, clock: TwoHands) -> None:
    first = token.current()
    clock.steady += 40 * MINUTE
    clock.wall += 1
    assert token.current() != first


def test_too_many_goes_back_to_the_one_before(token: ProviderToken, clock: TwoHands) -> None:
    first = token.current()
    clock.advance(40 * MINUTE)
    second = token.current()

    assert token.too_many()
    assert token.current() == first
    assert token.too_many()  # Told again for another request of that moment.
    assert token.current() == first
    clock.advance(18 * MINUTE)
    assert token.current() == first
    clock.advance(1 * MINUTE)  # Its hour is over all but a moment, whatever the pause.
    assert token.current() not in (first, second)
    token.too_many()
    assert token.current() not in (first, second)


def test_too_many_without_one_before_keeps_what_there_is(token: ProviderToken) -> None:
    first = token.current()
    assert not token.too_many()
    assert token.current() == first


def test_one_for_each_key_and_environment(clock: TwoHands) -> None:
    tokens = ProviderTokens(clock)
    sandbox, production = ApnsEnvironment.SANDBOX, ApnsEnvironment.PRODUCTION
    other_key = replace(CREDENTIAL, p8=pem(ec.generate_private_key(ec.SECP256R1())))

    one = tokens.of(CREDENTIAL, production)

    assert tokens.of(replace(CREDENTIAL, topics=("com.example.other",)), production) is one
    different = {
        id(tokens.of(credential, environment))
        for credential, environment in [
            (CREDENTIAL, production),
            (CREDENTIAL, sandbox),
            (replace(CREDENTIAL, key_id="KEY7654321"), production),
            (replace(CREDENTIAL, team_id="TEAM654321"), production),
            (other_key, production),
        ]
    }
    assert len(different) == 5


def test_many_keys_are_not_kept_for_ever(clock: TwoHands) -> None:
    tokens = ProviderTokens(clock)
    first = tokens.of(CREDENTIAL, ApnsEnvironment.PRODUCTION)
    first.current()
    for number in range(300):
        tokens.of(replace(CREDENTIAL, key_id=f"{number:010}"), ApnsEnvironment.PRODUCTION)
    assert tokens.of(CREDENTIAL, ApnsEnvironment.PRODUCTION) is first
    clock.advance(61 * MINUTE)
    for number in range(300):
        tokens.of(replace(CREDENTIAL, key_id=f"{number:010}"), ApnsEnvironment.SANDBOX)
    assert tokens.of(CREDENTIAL, ApnsEnvironment.PRODUCTION) is not first


def test_a_key_as_apple_gives_it_out() -> None:
    for text in (pem(KEY), pem(KEY).strip(), pem(KEY).replace("\n", "\r\n"), f"\n{pem(KEY)}\n\n"):
        assert check_key(replace(CREDENTIAL, p8=text)) == ""


@pytest.mark.parametrize(
    "p8",
    [
        "",
        "sesame",
        "\0",
        "\ud800",
        "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nsesame\n-----END PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\n\ud800\n-----END PRIVATE KEY-----",
        pem(KEY)[:-60],
        pem(KEY, serialization.PrivateFormat.TraditionalOpenSSL),
        pem(KEY, encryption=serialization.BestAvailableEncryption(b"sesame")),
        pem(ec.generate_private_key(ec.SECP384R1())),
        pem(rsa.generate_private_key(65537, 2048)),
        KEY.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode(),
    ],
)
def test_what_is_no_such_key(p8: str) -> None:
    said = check_key(replace(CREDENTIAL, p8=p8))
    assert said.startswith("is not ")
    assert "sesame" not in said

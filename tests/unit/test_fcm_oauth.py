"""Access tokens: how they are asked for, what the answers mean, and that there is a good one when it is needed."""

import asyncio
import json
from email.utils import formatdate
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bellhop_server.domain import SECOND, Micros
from bellhop_server.domain.application import FcmCredential
from bellhop_server.domain.delivery import Answer, Verdict
from bellhop_server.providers.backlog import Failure
from bellhop_server.providers.engine import FailureKind, Reply
from bellhop_server.providers.fcm.access import Access, Accesses
from bellhop_server.providers.fcm.oauth import Grant, TokenEndpoint, read_grant
from bellhop_server.providers.fcm.settings import FcmSettings
from bellhop_server.providers.pool import Pool
from bellhop_server.providers.reasons import Reason

START = 1_800_000_000
NOW = START * SECOND
KEY = rsa.generate_private_key(65537, 2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
CREDENTIAL = FcmCredential("bellhop-shop", "robot@bellhop-shop.iam.gserviceaccount.com", "key-1", PEM)
REFUSED = Answer(Verdict.CREDENTIALS_INVALID, 400, "invalid_grant")
AWAY = Answer(Verdict.NOT_SENT, 503, "AccessToken: HTTP 503")


class HeldClock:
    """Moves when it is told to."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> Micros:
        return NOW + int(self.time * SECOND)

    def monotonic(self) -> float:
        return 1000.0 + self.time

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


def no_pool() -> Pool:
    raise AssertionError("nobody is to be asked")


def test_what_an_assertion_says() -> None:
    settings = FcmSettings(token_url="https://localhost:7/token")
    text = TokenEndpoint(settings, HeldClock(), no_pool).assertion(CREDENTIAL)

    options: Any = {"verify_iat": False, "verify_exp": False}
    claims = jwt.decode(text, KEY.public_key(), algorithms=["RS256"], audience=settings.token_url, options=options)
    assert claims == {
        "iss": CREDENTIAL.client_email,
        "scope": "https://www.googleapis.com/auth/firebase.messaging",
        "aud": "https://localhost:7/token",
        "iat": START - 10,
        "exp": START - 10 + 3600,
    }
    assert jwt.get_unverified_header(text) == {"alg": "RS256", "typ": "JWT", "kid": "key-1"}


async def test_a_key_that_is_none_is_told_without_asking() -> None:
    endpoint = TokenEndpoint(FcmSettings(), HeldClock(), no_pool)
    unreadable = FcmCredential("bellhop-shop", "robot@example.com", "key-1", "nonsense")

    assert await endpoint.grant(unreadable) == Answer(Verdict.CREDENTIALS_INVALID, reason="KeyUnreadable")


def reply(status: int, body: object, *headers: tuple[bytes, bytes]) -> Reply:
    return Reply(1, status, headers, body if isinstance(body, bytes) else json.dumps(body).encode())


@pytest.mark.parametrize(
    ("told", "grant"),
    [
        ({"access_token": "ya29.x", "expires_in": 3599, "token_type": "Bearer"}, Grant("ya29.x", 3599)),
        ({"access_token": "ya29.x", "expires_in": 3599.5, "token_type": "bearer"}, Grant("ya29.x", 3599.5)),
        ({"access_token": "ya29.x"}, Grant("ya29.x", 600)),
        ({"access_token": "ya29.x", "expires_in": "soon"}, Grant("ya29.x", 600)),
        ({"access_token": "ya29.x", "expires_in": True}, Grant("ya29.x", 600)),
        ({"access_token": "ya29.x", "expires_in": -1}, Grant("ya29.x", 600)),
        ({"access_token": "ya29.x", "expires_in": float("nan")}, Grant("ya29.x", 600)),
        ({"access_token": "ya29.x", "expires_in": 10**30}, Grant("ya29.x", 43_200)),
        ({"access_token": "ya29.x", "expires_in": float("inf")}, Grant("ya29.x", 43_200)),
    ],
)
def test_tokens(told: object, grant: Grant) -> None:
    assert read_grant(reply(200, told), NOW) == grant


@pytest.mark.parametrize(
    "told",
    [
        b"",
        b"<html>",
        b"[" * 60_000,
        [],
        {},
        {"access_token": ""},
        {"access_token": 7},
        {"access_token": "a b"},
        {"access_token": "a\r\nx: y"},
        {"access_token": "a" * 5000},
        {"access_token": "ya29.x", "token_type": "MAC"},
        {"access_token": "ya29.x", "token_type": None},
        {"id_token": "eyJhbGciOiJSUzI1NiJ9"},
    ],
)
def test_a_good_answer_without_a_token_is_none(told: object) -> None:
    assert read_grant(reply(200, told), NOW) == Answer(Verdict.NOT_SENT, 200, "AccessToken: unreadable")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, "invalid_grant"),
        (400, "invalid_scope"),
        (401, "invalid_client"),
        (401, "unauthorized_client"),
        (403, "access_denied"),
    ],
)
def test_refusals(status: int, error: str) -> None:
    told = {"error": error, "error_description": "Invalid JWT Signature."}
    assert read_grant(reply(status, told), NOW) == Answer(Verdict.CREDENTIALS_INVALID, status, error)


@pytest.mark.parametrize(("off", "reason"), [(-7200, "ClockSkew"), (7200, "ClockSkew"), (100, "invalid_grant")])
def test_a_refused_assertion_may_be_the_fault_of_our_clock(off: int, reason: str) -> None:
    date = (b"date", formatdate(START + off, usegmt=True).encode())
    assert read_grant(reply(400, {"error": "invalid_grant"}, date), NOW) == REFUSED._replace(reason=reason)
    other = read_grant(reply(401, {"error": "invalid_client"}, date), NOW)
    assert other == Answer(Verdict.CREDENTIALS_INVALID, 401, "invalid_client")


@pytest.mark.parametrize("date", [b"", b"yesterday", b"\xff", b"Mon, 99 Foo 99999 99:99:99 GMT"])
def test_a_date_that_is_none_says_nothing_of_our_clock(date: bytes) -> None:
    assert read_grant(reply(400, {"error": "invalid_grant"}, (b"date", date)), NOW) == REFUSED


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error":{"code":503}}', b'{"error":""}'])
def test_whatever_else_comes_back_passes(status: int, body: bytes) -> None:
    assert read_grant(reply(status, body), NOW) == Answer(Verdict.NOT_SENT, status, f"AccessToken: HTTP {status}")


def test_an_endpoint_that_is_away() -> None:
    told = read_grant(reply(503, b"", (b"retry-after", b"17")), NOW)
    assert told == Answer(Verdict.NOT_SENT, 503, "AccessToken: HTTP 503", retry_after=17)
    failure = Failure(FailureKind.UNKNOWN, Reason.ANSWER_TIMEOUT)
    assert read_grant(failure, NOW) == Answer(Verdict.NOT_SENT, reason="AccessToken: AnswerTimeout")


class Granter:
    """Grants what it is told to, when it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.results: list[Grant | Answer] = []
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, credential: FcmCredential) -> Grant | Answer:
        self.asked += 1
        await self.open.wait()
        return self.results.pop(0) if self.results else Grant(f"token-{self.asked}", 3600)


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
def granter() -> Granter:
    return Granter()


@pytest.fixture
def access(granter: Granter, clock: HeldClock) -> Access:
    return Access(CREDENTIAL, granter, clock, rng=lambda: 0.5)


def bearer(token: str) -> tuple[bytes, bytes]:
    return b"authorization", b"Bearer " + token.encode()


async def ready(access: Access, clock: HeldClock, seconds: float = 5) -> Answer | None:
    return await access.ready(clock.monotonic() + seconds)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_many_wait_for_one_request(access: Access, granter: Granter, clock: HeldClock) -> None:
    granter.open.clear()
    waiting = [asyncio.create_task(ready(access, clock)) for _ in range(100)]
    await settle()
    granter.open.set()

    assert await asyncio.gather(*waiting) == [None] * 100
    assert granter.asked == 1
    assert access.authorization == bearer("token-1")


async def test_it_is_renewed_before_its_end_while_it_is_shown(
    access: Access, granter: Granter, clock: HeldClock
) -> None:
    await ready(access, clock)
    clock.time = 3600 - 331
    await ready(access, clock)
    await settle()
    assert granter.asked == 1

    clock.time = 3600 - 330
    granter.open.clear()
    assert await ready(access, clock) is None
    await settle()
    assert granter.asked == 2
    assert access.authorization == bearer("token-1")
    granter.open.set()
    await settle()
    assert access.authorization == bearer("token-2")


async def test_one_that_lasts_a_minute_is_renewed_at_its_half(
    access: Access, granter: Granter, clock: HeldClock
) -> None:
    granter.results = [Grant("short", 60)]
    await ready(access, clock)
    clock.time = 29
    await ready(access, clock)
    await settle()
    assert granter.asked == 1
    clock.time = 30
    await ready(access, clock)
    await settle()
    assert granter.asked == 2


@pytest.mark.parametrize("failure", [AWAY, REFUSED])
async def test_while_the_old_one_is_good_a_failure_stops_nobody(
    access: Access, granter: Granter, clock: HeldClock, failure: Answer
) -> None:
    await ready(access, clock)
    granter.results = [failure] * 1000
    for second in range(3270, 3590):
        clock.time = second
        assert await ready(access, clock) is None
        await settle()

    # 1, 2, 4 … 60 seconds apart.
    assert 6 < granter.asked < 14
    clock.time = 3590
    told = await ready(access, clock)
    assert told is not None
    assert told._replace(retry_after=None) == failure


async def test_after_a_failure_nobody_asks_for_a_while(access: Access, granter: Granter, clock: HeldClock) -> None:
    granter.results = [AWAY, AWAY._replace(retry_after=30)]
    assert await ready(access, clock) == AWAY._replace(retry_after=1)
    clock.time = 0.5
    assert await ready(access, clock) == AWAY._replace(retry_after=0.5)
    assert granter.asked == 1
    clock.time = 1
    assert await ready(access, clock) == AWAY._replace(retry_after=30)
    clock.time = 31
    assert await ready(access, clock) is None
    assert granter.asked == 3


async def test_an_endpoint_that_is_slow_holds_up_nobody_beyond_its_deadline(
    access: Access, granter: Granter, clock: HeldClock
) -> None:
    granter.open.clear()
    told = await ready(access, clock, seconds=0.01)

    assert told == Answer(Verdict.NOT_SENT, reason="AccessToken: AnswerTimeout")
    granter.open.set()
    assert await ready(access, clock) is None
    assert granter.asked == 1


async def test_one_that_fcm_refuses_is_replaced_once(access: Access, granter: Granter, clock: HeldClock) -> None:
    await ready(access, clock)
    shown = access.authorization
    first = access.refused(shown)
    assert first is not None
    assert access.refused(shown) is first
    assert not access.good
    await first

    assert access.good
    assert access.refused(shown) is None, "it has been replaced"
    assert access.authorization == bearer("token-2")
    assert granter.asked == 2


async def test_one_that_cannot_be_replaced_is_not_shown_again(
    access: Access, granter: Granter, clock: HeldClock
) -> None:
    await ready(access, clock)
    granter.results = [REFUSED]
    renewal = access.refused(access.authorization)
    assert renewal is not None
    await renewal

    assert access.refused(access.authorization) is None
    assert not access.good
    assert access.trouble == REFUSED
    assert granter.asked == 2


async def test_those_that_wait_at_the_end_are_told(access: Access, granter: Granter, clock: HeldClock) -> None:
    granter.open.clear()
    waiting = asyncio.create_task(ready(access, clock))
    await settle()
    await access.aclose()

    told = await waiting
    assert told is not None
    assert told._replace(retry_after=None) == Answer(Verdict.NOT_SENT, reason="ShuttingDown")


async def test_the_same_account_has_one_token_and_another_key_another(granter: Granter, clock: HeldClock) -> None:
    accesses = Accesses(granter, clock)
    same = FcmCredential("other-project", CREDENTIAL.client_email, "key-1", PEM, sender_id="7")
    replaced = FcmCredential("bellhop-shop", CREDENTIAL.client_email, "key-2", PEM)

    assert accesses.of(CREDENTIAL) is accesses.of(same)
    assert accesses.of(CREDENTIAL) is not accesses.of(replaced)
    await accesses.aclose()


def test_a_token_is_not_shown() -> None:
    assert "ya29" not in repr(Grant("ya29.secret", 1))
